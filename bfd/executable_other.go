//go:build !linux

package bfd

import "net"

// sameExecutable reports that nothing is known: BFD sessions run on Linux only.
func sameExecutable(*net.UnixConn) bool { return false }
