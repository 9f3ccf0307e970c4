// Package project knows where the project's own files are, for the programs below test.
package project

import (
	"os"
	"path/filepath"
)

// Root is the project's folder: the working folder or the first above it with a go.mod; "." where there is none.
func Root() string {
	folder, err := os.Getwd()
	for err == nil {
		if _, err := os.Stat(filepath.Join(folder, "go.mod")); err == nil {
			return folder
		}
		above := filepath.Dir(folder)
		if above == folder {
			break
		}
		folder = above
	}
	return "."
}
