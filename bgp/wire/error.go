package wire

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/hyperfib/hyperfib/internal/enum"
)

// Disposition is what an error asks for, from weak to strong (RFC 7606, Section 2).
type Disposition uint8

// Dispositions.
const (
	// NoError is the zero value.
	NoError Disposition = iota
	// AttributeDiscard: the attribute is dropped, the route is used without it.
	AttributeDiscard
	// RouteWithdraw: an NLRI is treated as a withdraw by itself, or names no route and is passed over; the others of
	// the message are used.
	RouteWithdraw
	// TreatAsWithdraw: every NLRI of the message is withdrawn, the session stays.
	TreatAsWithdraw
	// SessionReset: a NOTIFICATION is sent and the session ends.
	SessionReset
)

// String returns the term of RFC 7606, Section 2.
func (d Disposition) String() string {
	return enum.String("Disposition", []string{"no error", "attribute discard", "treat-as-withdraw of one NLRI", "treat-as-withdraw", "session reset"}, d)
}

// Error is the one type of error that parsers of this package return. It owns its
// memory.
type Error struct {
	Disposition Disposition // what is to be done
	// Code, Subcode and Data are those of the NOTIFICATION to send when the session
	// is reset.
	Code    ErrorCode
	Subcode uint8       // of Code
	Data    []byte      // of the NOTIFICATION
	Message MessageType // the message concerned, 0 if its type is not known
	Attr    AttrType    // the path attribute concerned, 0 if none
	RFC     string      // where it is forbidden: "RFC 7606, Section 7.1"
	Text    string      // what is wrong
}

// Error returns one line, such as
// "UPDATE: ORIGIN: length 2, not 1 (RFC 7606, Section 7.1: treat-as-withdraw)".
func (e *Error) Error() string {
	var b strings.Builder
	if e.Message != 0 {
		fmt.Fprintf(&b, "%v: ", e.Message)
	}
	if e.Attr != 0 {
		fmt.Fprintf(&b, "%v: ", e.Attr)
	}
	fmt.Fprintf(&b, "%s (%s: %v)", e.Text, e.RFC, e.Disposition)
	return b.String()
}

// Notification returns the NOTIFICATION that ends the session for e.
func (e *Error) Notification() Notification {
	return Notification{Code: e.Code, Subcode: e.Subcode, Data: e.Data}
}

func clone(b []byte) []byte { return bytes.Clone(b) }
