package wire

import (
	"fmt"
	"unicode"
	"unicode/utf8"
)

// Notification is a NOTIFICATION message (RFC 4271, Section 4.5).
type Notification struct {
	Code    ErrorCode // Error code
	Subcode uint8     // Error subcode; 0: unspecific
	Data    []byte    // what the code asks for
}

// ParseNotification reads the body of a NOTIFICATION. Data aliases body.
func ParseNotification(body []byte) (Notification, error) {
	// Error code (1), Error subcode (1), Data (RFC 4271, Section 4.5).
	if len(body) < 2 {
		return Notification{}, &Error{Disposition: SessionReset, Code: CodeHeader, Subcode: SubBadLength,
			Message: TypeNotification, RFC: "RFC 4271, Section 6.4", Text: "cut short"}
	}
	return Notification{Code: ErrorCode(body[0]), Subcode: body[1], Data: body[2:]}, nil
}

// Append appends the whole message to b. Data that does not fit into MaxLen octets
// is cut off.
func (n Notification) Append(b []byte) []byte {
	start := len(b)
	b = append(appendHeader(b, TypeNotification), byte(n.Code), n.Subcode)
	return finish(append(b, n.Data[:min(len(n.Data), MaxLen-HeaderLen-2)]...), start)
}

// maxShutdownText is the longest shutdown communication in octets: its length is
// one octet (RFC 9003, Section 2).
const maxShutdownText = 255

// Shutdown returns a Cease NOTIFICATION, SubShutdown or SubReset, that carries text
// as a shutdown communication (RFC 9003, Section 2). Text that is too long is cut between
// characters; empty text is left out.
func Shutdown(subcode uint8, text string) Notification {
	// Data: Length (1), Shutdown Communication in UTF-8 (RFC 9003, Section 2).
	n := Notification{Code: CodeCease, Subcode: subcode}
	if len(text) > maxShutdownText {
		end := maxShutdownText
		for end > 0 && !utf8.RuneStart(text[end]) {
			end--
		}
		text = text[:end]
	}
	if text != "" {
		n.Data = append([]byte{byte(len(text))}, text...)
	}
	return n
}

// HardReset wraps n into a Cease/Hard Reset, which ends graceful restart for the
// session (RFC 8538, Section 3.1). To be used only if the N bit was negotiated.
func HardReset(n Notification) Notification {
	return Notification{Code: CodeCease, Subcode: SubHardReset, Data: append([]byte{byte(n.Code), n.Subcode}, n.Data...)}
}

// IsHardReset reports whether n is a Cease/Hard Reset.
func (n Notification) IsHardReset() bool { return n.Code == CodeCease && n.Subcode == SubHardReset }

// Unwrap returns the NOTIFICATION inside a Hard Reset, and n itself if it is none
// or carries nothing.
func (n Notification) Unwrap() Notification {
	// Data: Error code (1), Error subcode (1), Data of the NOTIFICATION inside (RFC 8538,
	// Section 3.1).
	if !n.IsHardReset() || len(n.Data) < 2 {
		return n
	}
	return Notification{Code: ErrorCode(n.Data[0]), Subcode: n.Data[1], Data: n.Data[2:]}
}

// ShutdownText returns the shutdown communication in n (or inside its Hard Reset),
// "" if there is none. What is not printable UTF-8 is replaced: peers log it.
func (n Notification) ShutdownText() string {
	n = n.Unwrap()
	if n.Code != CodeCease || n.Subcode != SubShutdown && n.Subcode != SubReset || len(n.Data) == 0 {
		return ""
	}
	size := min(int(n.Data[0]), len(n.Data)-1)
	var text []rune
	for _, r := range string(n.Data[1 : 1+size]) {
		if !unicode.IsPrint(r) {
			r = unicode.ReplacementChar
		}
		text = append(text, r)
	}
	return string(text)
}

// String returns one line: names, numbers, and the shutdown communication or the
// data, such as `Cease/Administrative Shutdown (6/2): "back at noon"`.
func (n Notification) String() string {
	if n.IsHardReset() && len(n.Data) >= 2 {
		return fmt.Sprintf("Cease/Hard Reset (6/9): %v", n.Unwrap())
	}
	s := n.Code.String()
	if sub := n.Code.SubcodeString(n.Subcode); sub != "" {
		s += "/" + sub
	}
	s += fmt.Sprintf(" (%d/%d)", n.Code, n.Subcode)
	if text := n.ShutdownText(); text != "" {
		return s + fmt.Sprintf(": %q", text)
	}
	if len(n.Data) > 0 {
		return s + fmt.Sprintf(": % x", n.Data)
	}
	return s
}
