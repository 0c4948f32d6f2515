// Package operations holds the tests of what operators are given: the Debian package, run by
// systemd, and the paths that docs/operations.md describes, command by command. There is no
// code in it that a program could import.
package operations
