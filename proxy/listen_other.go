//go:build !linux

package proxy

import "errors"

func dropRequests(int) error { return errors.ErrUnsupported }
