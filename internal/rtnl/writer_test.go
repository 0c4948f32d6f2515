package rtnl

import (
	"errors"
	"io"
	"os"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// script is a Conn that answers as it is told to: each element of answers is a datagram or
// an error, nil the end of what has arrived.
type script struct {
	sent    [][]byte
	refuse  error // of Send
	answers []any
	waits   int
	waitErr error
}

func (s *script) Send(b []byte) error {
	s.sent = append(s.sent, slices.Clone(b))
	return s.refuse
}

func (s *script) Receive(b []byte) (int, error) {
	if len(s.answers) == 0 {
		return 0, unix.EAGAIN
	}
	a := s.answers[0]
	s.answers = s.answers[1:]
	switch a := a.(type) {
	case []byte:
		return copy(b, a), nil
	case error:
		return 0, a
	}
	return 0, unix.EAGAIN
}

func (s *script) Wait() error {
	s.waits++
	return s.waitErr
}

// answer makes an NLMSG_ERROR.
func answer(seq uint32, errno unix.Errno) []byte {
	b := Begin(nil, NLMSG_ERROR, NLM_F_CAPPED, seq)
	b = native.AppendUint32(b, uint32(-int32(errno)))
	return End(append(b, make([]byte, SizeHeader)...), 0)
}

// part makes a message of a dump.
func part(typ, flags uint16, seq uint32) []byte {
	return End(append(Begin(nil, typ, flags|NLM_F_MULTI, seq), 0, 0, 0, 0), 0)
}

func batch(w *Writer, n int) {
	w.Reset()
	for range n {
		b := w.Buffer()
		w.Add(End(append(Begin(b, RTM_NEWROUTE, NLM_F_REQUEST, w.Seq()), make([]byte, SizeRoute)...), len(b)))
	}
}

func check(t *testing.T, w *Writer, want ...error) {
	t.Helper()
	if w.Len() != len(want) {
		t.Fatalf("%d messages, want %d", w.Len(), len(want))
	}
	for i, e := range want {
		if got := w.Err(i); (got == nil) != (e == nil) || e != nil && !errors.Is(got, e) {
			t.Errorf("message %d: %v, want %v", i, got, e)
		}
	}
}

func TestWriter(t *testing.T) {
	s := &script{}
	w := NewWriter(s)
	if lost, err := w.Flush(); lost || err != nil || len(s.sent) != 0 {
		t.Error("an empty batch was sent")
	}
	batch(w, 3)
	s.answers = []any{answer(2, unix.EEXIST)}
	if lost, err := w.Flush(); lost || err != nil {
		t.Error(lost, err)
	}
	check(t, w, nil, unix.EEXIST, nil)
	if n := slices.Collect(Messages(s.sent[0])); len(n) != 3 || n[0].Seq != 1 || n[2].Seq != 3 {
		t.Errorf("%+v", n)
	}
	// Answers to an earlier batch, to none, and what is no answer are not this batch's.
	batch(w, 2)
	s.answers = []any{answer(2, unix.EPERM), answer(6, unix.EPERM), part(RTM_NEWROUTE, 0, 4), append(answer(5, unix.ENOENT), answer(4, 0)...)}
	if lost, err := w.Flush(); lost || err != nil {
		t.Error(lost, err)
	}
	check(t, w, nil, unix.ENOENT)
	// A malformed answer says nothing.
	batch(w, 1)
	s.answers = []any{End(append(Begin(nil, NLMSG_ERROR, 0, 6), 1, 2, 3, 4), 0)}
	if _, err := w.Flush(); err != nil {
		t.Error(err)
	}
	check(t, w, nil)
}

func TestWriterLost(t *testing.T) {
	s := &script{}
	w := NewWriter(s)
	batch(w, 3)
	s.answers = []any{answer(1, unix.EEXIST), unix.ENOBUFS, answer(3, unix.ENODEV)}
	if lost, err := w.Flush(); !lost || err != nil {
		t.Error(lost, err)
	}
	check(t, w, unix.EEXIST, ErrLost, unix.ENODEV)
}

func TestWriterFails(t *testing.T) {
	s := &script{refuse: unix.EMSGSIZE}
	w := NewWriter(s)
	batch(w, 2)
	if lost, err := w.Flush(); lost || err != nil { // the kernel's answer, to all of it
		t.Error(lost, err)
	}
	check(t, w, unix.EMSGSIZE, unix.EMSGSIZE)
	s.refuse = os.ErrClosed
	batch(w, 1)
	if _, err := w.Flush(); !errors.Is(err, os.ErrClosed) {
		t.Error(err)
	}
	s.refuse = nil
	s.answers = []any{io.ErrUnexpectedEOF}
	batch(w, 1)
	if _, err := w.Flush(); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Error(err)
	}
}

// A message that is too long is not sent, those beside it are, and numbers go on.
func TestWriterTooLong(t *testing.T) {
	s := &script{}
	w := NewWriter(s)
	batch(w, 1)
	b := w.Buffer()
	w.Add(End(append(Begin(b, RTM_NEWROUTE, NLM_F_REQUEST, w.Seq()), make([]byte, MaxMessage)...), len(b)))
	b = w.Buffer()
	w.Add(End(Begin(b, RTM_NEWROUTE, NLM_F_REQUEST, w.Seq()), len(b)))
	s.answers = []any{answer(3, unix.EPERM)}
	if _, err := w.Flush(); err != nil {
		t.Error(err)
	}
	check(t, w, nil, ErrTooLong, unix.EPERM)
	if n := slices.Collect(Messages(s.sent[0])); len(n) != 2 || n[1].Seq != 3 {
		t.Errorf("%+v", n)
	}
}

func request(typ, flags uint16, seq uint32) []byte {
	return End(append(Begin(nil, typ, NLM_F_REQUEST|flags, seq), make([]byte, SizeLink)...), 0)
}

func TestExchange(t *testing.T) {
	buffer := make([]byte, DatagramSize)
	done := part(NLMSG_DONE, 0, 7)
	for _, tc := range []struct {
		name    string
		answers []any
		entries int
		waits   int
		err     error
	}{
		{"an acknowledgement", []any{answer(7, 0)}, 0, 0, nil},
		{"a refusal, late", []any{nil, answer(7, unix.EPERM)}, 0, 1, unix.EPERM},
		{"one object", []any{End(Begin(nil, RTM_NEWLINK, 0, 7), 0)}, 1, 0, nil},
		{"a dump", []any{append(part(RTM_NEWLINK, 0, 7), part(RTM_NEWLINK, 0, 7)...), nil, part(RTM_NEWLINK, 0, 7), done}, 3, 1, nil},
		{"a dump that was interrupted", []any{part(RTM_NEWLINK, NLM_F_DUMP_INTR, 7), part(RTM_NEWLINK, 0, 7), done}, 2, 0, ErrInterrupted},
		{"a dump that was interrupted at its end", []any{part(RTM_NEWLINK, 0, 7), part(NLMSG_DONE, NLM_F_DUMP_INTR, 7)}, 1, 0, ErrInterrupted},
		{"a dump that was interrupted and failed", []any{part(RTM_NEWLINK, NLM_F_DUMP_INTR, 7), answer(7, unix.ENODEV)}, 1, 0, unix.ENODEV},
		{"the end of another one before", []any{part(NLMSG_DONE, 0, 6), append(answer(5, unix.EPERM), answer(7, unix.ENOENT)...)}, 0, 0, unix.ENOENT},
		{"lost", []any{unix.ENOBUFS}, 0, 0, unix.ENOBUFS},
		{"malformed", []any{append(part(RTM_NEWLINK, 0, 7), 1, 2, 3, 4)}, 1, 0, ErrMalformed},
	} {
		s, n := &script{answers: tc.answers}, 0
		err := Exchange(s, request(RTM_GETLINK, NLM_F_DUMP, 7), buffer, func(Message) { n++ })
		if n != tc.entries || s.waits != tc.waits || (err == nil) != (tc.err == nil) || tc.err != nil && !errors.Is(err, tc.err) {
			t.Errorf("%s: %d entries, %d waits, %v", tc.name, n, s.waits, err)
		}
		if len(s.answers) > 0 {
			t.Errorf("%s: %d answers were not read", tc.name, len(s.answers))
		}
	}
	if err := Exchange(&script{answers: []any{part(RTM_NEWLINK, 0, 7), done}}, request(RTM_GETLINK, NLM_F_DUMP, 7), buffer, nil); err != nil {
		t.Error(err)
	}
	s := &script{waitErr: os.ErrDeadlineExceeded}
	if err := Exchange(s, request(RTM_GETLINK, 0, 7), buffer, nil); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error(err)
	}
	if err := Exchange(s, nil, buffer, nil); !errors.Is(err, ErrTooLong) || len(s.sent) != 1 {
		t.Error(err)
	}
	s.refuse = unix.EPERM
	if err := Exchange(s, request(RTM_GETLINK, 0, 7), buffer, nil); !errors.Is(err, unix.EPERM) {
		t.Error(err)
	}
}

func TestDump(t *testing.T) {
	buffer := make([]byte, DatagramSize)
	dump := func(s *script) (entries int, interrupted bool, err error) {
		err = Dump(s, DumpRequest(RTM_GETLINK, make([]byte, SizeLink)...), buffer, func(b []byte) (bool, error) {
			done, i, err := WalkDump(b, func(Message) { entries++ })
			interrupted = interrupted || i
			return done, err
		})
		return entries, interrupted, err
	}
	entry, done := part(RTM_NEWLINK, 0, 1), part(NLMSG_DONE, 0, 1)
	for _, tc := range []struct {
		name        string
		answers     []any // nil: the request is sent
		entries     int
		interrupted bool
		err         error
	}{
		{"all", []any{nil, append(slices.Clone(entry), entry...), entry, done}, 3, false, nil},
		{"behind the rest of another one", []any{entry, unix.ENOBUFS, unix.EMSGSIZE, nil, entry, done}, 1, false, nil},
		{"late", []any{nil, nil, entry, nil, done}, 1, false, nil},
		{"interrupted", []any{nil, entry, part(RTM_NEWLINK, NLM_F_DUMP_INTR, 1), entry, done}, 3, true, nil},
		{"refused", []any{nil, answer(1, unix.EINVAL)}, 0, false, unix.EINVAL},
		{"lost", []any{nil, entry, unix.ENOBUFS}, 1, false, unix.ENOBUFS},
		{"closed", []any{os.ErrClosed}, 0, false, os.ErrClosed},
	} {
		n, i, err := dump(&script{answers: tc.answers})
		if n != tc.entries || i != tc.interrupted || (err == nil) != (tc.err == nil) || tc.err != nil && !errors.Is(err, tc.err) {
			t.Errorf("%s: %d entries, interrupted %v, %v", tc.name, n, i, err)
		}
	}
	if _, _, err := dump(&script{refuse: unix.EPERM}); !errors.Is(err, unix.EPERM) {
		t.Error(err)
	}
	if _, _, err := dump(&script{waitErr: os.ErrClosed}); !errors.Is(err, os.ErrClosed) {
		t.Error(err)
	}
}
