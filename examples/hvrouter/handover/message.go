package handover

import (
	"errors"
	"io"
	"net"

	"golang.org/x/sys/unix"
)

var errProtocol = errors.New("handover: malformed message")

// message is one message; fd is -1 if none came with it.
type message struct {
	do   byte
	name string
	fd   int
}

// send sends one message; the descriptor stays the caller's.
func send(c *net.UnixConn, m message) error {
	var rights []byte
	if m.fd >= 0 {
		rights = unix.UnixRights(m.fd)
	}
	_, _, err := c.WriteMsgUnix(append([]byte{m.do}, m.name...), rights, nil)
	return err
}

// receive reads one message; the descriptor is the caller's.
func receive(c *net.UnixConn) (message, error) {
	var b [1 + longestName]byte
	oob := make([]byte, unix.CmsgSpace(4))
	n, oobn, flags, _, err := c.ReadMsgUnix(b[:], oob)
	m := message{fd: -1}
	if list, e := unix.ParseSocketControlMessage(oob[:max(oobn, 0)]); e == nil && len(list) == 1 {
		if fds, e := unix.ParseUnixRights(&list[0]); e == nil && len(fds) == 1 {
			m.fd = fds[0]
		}
	}
	switch {
	case err == nil && n == 0:
		err = io.EOF
	case err == nil && flags&unix.MSG_TRUNC != 0:
		err = errProtocol
	}
	if err != nil {
		drop(m.fd)
		return message{}, err
	}
	m.do, m.name = b[0], string(b[1:n])
	return m, nil
}

// drop closes a descriptor, if it is one.
func drop(fd int) {
	if fd >= 0 {
		unix.Close(fd)
	}
}
