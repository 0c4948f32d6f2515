// Package sock holds the socket options that more than one package needs, each
// as a function of a raw file descriptor, so that it fits net.ListenConfig's and
// net.Dialer's Control as well as sockets made with x/sys/unix.
package sock
