package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Why a daemon has not done what a [Client] asked for, as far as programs tell it apart. One of these
// may be in the chain of an error; a [*SilentError] is another reason.
var (
	// ErrNoDaemon is that nothing listens at the socket.
	ErrNoDaemon = errors.New("no daemon runs")
	// ErrNotPermitted is that who asks may not. It says nothing about the daemon.
	ErrNotPermitted = errors.New("not permitted")
	// ErrBusy is that a daemon is there that has as many clients as it takes.
	ErrBusy = errors.New("the daemon has too many clients")
	// ErrCutOff is that a daemon was there, and ended or closed the connection before it had
	// answered in full.
	ErrCutOff = errors.New("the answer is cut off")
)

// failure is an error with one of the reasons above, which its text does not repeat.
type failure struct {
	error
	reason error
}

// Is reports whether target is the reason.
func (f failure) Is(target error) bool { return target == f.reason }

// Unwrap returns the error.
func (f failure) Unwrap() error { return f.error }

// Is reports whether target is the reason of the answer's status.
func (e *Error) Is(target error) bool {
	switch e.status {
	case http.StatusForbidden:
		return target == ErrNotPermitted
	case http.StatusServiceUnavailable:
		return target == ErrBusy
	}
	return false
}

// refusal returns the error of an answer that is not a success; what names the question.
func refusal(what string, resp *http.Response, body []byte) error {
	e := &Error{status: resp.StatusCode}
	if json.Unmarshal(body, e) != nil || e.Message == "" {
		e.Message = fmt.Sprintf("%s: %s", what, resp.Status)
	}
	return e
}

// unreachable says what to do about a daemon that cannot be asked. The error that it wraps is that
// of the connection.
func unreachable(err error) error {
	if f := (failure{}); errors.As(err, &f) {
		return f
	}
	if question := (*url.Error)(nil); errors.As(err, &question) {
		err = question.Err // the host in it is none
	}
	var dial *net.OpError
	if !errors.As(err, &dial) || dial.Op != "dial" {
		return err
	}
	switch {
	case errors.Is(err, unix.EAGAIN): // unix(7): more connections wait than may
		return &SilentError{}
	case errors.Is(err, fs.ErrPermission):
		return failure{fmt.Errorf("only root may ask the daemon: %w", dial), ErrNotPermitted}
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, unix.ENOTDIR), errors.Is(err, unix.ECONNREFUSED):
		return failure{fmt.Errorf("no daemon runs, or it has another socket (-api): %w", dial), ErrNoDaemon}
	}
	return dial
}

// gone says that the daemon, whose process is pid if that is known, has ended or closed the connection,
// if that is what err means; part says that its answer had begun.
func gone(err error, pid int, part bool) error {
	if !slices.ContainsFunc([]error{io.EOF, io.ErrUnexpectedEOF, unix.ECONNRESET, unix.EPIPE}, func(end error) bool { return errors.Is(err, end) }) && !unread(err) {
		return err
	}
	text := "the daemon"
	if pid != 0 {
		text += fmt.Sprintf(" (pid %d)", pid)
	}
	text += " ended, or closed the connection, before it had answered"
	if part {
		text += " in full"
	}
	return failure{errors.New(text), ErrCutOff}
}

// unread reports whether an error of net/http, which has no type, is that the other end closed a connection, or wrote to it, while
// nothing was asked.
func unread(err error) bool {
	return strings.HasPrefix(err.Error(), "readLoopPeekFailLocked: ") || err.Error() == "http: server closed idle connection"
}

// Decode decodes an answer into what v points to. That the answer is empty is an error, and so is null
// in the place of what is no list: an empty list may be null.
func Decode(data []byte, v any) error {
	data = bytes.TrimSpace(data)
	switch {
	case len(data) == 0:
		return errors.New("the daemon's answer is empty")
	case string(data) == "null" && reflect.TypeOf(v).Elem().Kind() != reflect.Slice:
		return errors.New("the daemon's answer is null")
	}
	if err := json.Unmarshal(data, v); err != nil {
		return fmt.Errorf("the daemon's answer cannot be read: %w", err)
	}
	return nil
}
