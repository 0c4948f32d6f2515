package bfd

import "golang.org/x/sys/unix"

const soTimestampNS = unix.SO_TIMESTAMPNS
