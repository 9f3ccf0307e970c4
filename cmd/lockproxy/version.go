package main

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"
)

// release is set by the linker in releases: -ldflags "-X main.release=1.2.3".
var release = ""

func version(_ context.Context, args []string, w streams) error {
	if err := parse(newFlags("version", w), args); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w.out, "lockproxy %s (%s, %s/%s)\n", versionText(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return err
}

// versionText is the release, or what the Go tool knows of the sources.
func versionText() string {
	if release != "" {
		return release
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(devel)"
}
