//go:build !linux

package bfd

const soTimestampNS = 35 // SO_TIMESTAMPNS of most architectures of Linux
