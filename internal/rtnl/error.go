package rtnl

import (
	"errors"

	"golang.org/x/sys/unix"
)

// Error is the kernel's refusal of one request.
type Error struct {
	Errno unix.Errno
	// Text is the kernel's own explanation (NLMSGERR_ATTR_MSG), "" if it has none.
	Text string
	// Offset is where in the request the attribute is that the kernel complains about
	// (NLMSGERR_ATTR_OFFS), in octets from the start of its header; 0 if it did not say.
	Offset uint32
}

// Error returns the errno and the kernel's explanation in brackets.
func (e *Error) Error() string {
	if e.Text == "" {
		return e.Errno.Error()
	}
	return e.Errno.Error() + " (" + e.Text + ")"
}

// Unwrap returns Errno.
func (e *Error) Unwrap() error { return e.Errno }

// Errors that are not the kernel's.
var (
	// ErrLost says that the answer to a request did not fit into the socket's buffer: the
	// kernel may have done what was asked for, or not.
	ErrLost = errors.New("the kernel's answer was lost")
	// ErrTooLong says that a request has more than MaxMessage octets. It was not sent.
	ErrTooLong = errors.New("netlink message too long")
	// ErrInterrupted says that what the kernel had to dump changed meanwhile
	// (NLM_F_DUMP_INTR): entries may be missing from the dump.
	ErrInterrupted = errors.New("netlink dump was interrupted by a change")
)

// Err returns what an NLMSG_ERROR or NLMSG_DONE says: nil if the request was carried
// out, an *Error if not, or ErrMalformed.
//
// The body of NLMSG_ERROR is struct nlmsgerr, the negative errno and the header of the
// request; then the rest of the request unless NLM_F_CAPPED is set, which the socket
// option NETLINK_CAP_ACK asks for; then, if NLM_F_ACK_TLVS is set, attributes. That of
// NLMSG_DONE is the errno and the attributes.
func (m Message) Err() error {
	if len(m.Body) < 4 {
		return ErrMalformed
	}
	errno := -int32(native.Uint32(m.Body))
	rest := m.Body[4:]
	if m.Type == NLMSG_ERROR {
		if len(rest) < SizeHeader {
			return ErrMalformed
		}
		skip := SizeHeader
		if m.Flags&NLM_F_CAPPED == 0 {
			skip = max(skip, Align(int(min(native.Uint32(rest), 1<<30))))
		}
		rest = rest[min(skip, len(rest)):]
	}
	if errno == 0 {
		return nil // what else it says is a warning
	}
	e := &Error{Errno: unix.Errno(errno)}
	if m.Flags&NLM_F_ACK_TLVS == 0 {
		return e
	}
	for typ, v := range Attributes(rest) {
		switch typ {
		case NLMSGERR_ATTR_MSG:
			e.Text = v.Text()
		case NLMSGERR_ATTR_OFFS:
			e.Offset = v.Uint32()
		}
	}
	return e
}
