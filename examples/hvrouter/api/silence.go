package api

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// A process that is stopped, or hung, has its connections taken by the kernel all the same, and what
// is written to it as well: only time tells. A daemon that is silent is asked something that it
// answers without its loop. One that answers that has work to do, such as a table of a million
// routes, and is waited for; one that does not is given up.
const (
	// silence is how long a daemon may say nothing before it is asked whether it is there.
	silence = 3 * time.Second
	// proofTime is how long it may take to say that it is: a question fails after [silence] and
	// this, 5 s, on a daemon that does not answer at all.
	proofTime = 2 * time.Second
	// longestRead and longestChange are how long a daemon may work on an answer.
	longestRead   = time.Minute
	longestChange = 2 * time.Minute
)

// SilentError is that a daemon is there, since its socket takes connections, and does not answer.
type SilentError struct {
	PID   int           // of the process that listens; 0: not known
	State byte          // of that process, as in proc_pid_stat(5); 0: not known
	After time.Duration // how long it was waited for
	Busy  bool          // other questions are answered
}

func (e *SilentError) Error() string {
	who := "the daemon"
	if e.PID != 0 {
		who += fmt.Sprintf(" (pid %d)", e.PID)
	}
	switch {
	case e.After == 0: // unix(7): EAGAIN
		return who + " does not answer: as many connections wait for it as its socket takes"
	case e.Busy:
		return fmt.Sprintf("%s has not answered this for %v, and answers other questions", who, e.After)
	}
	return fmt.Sprintf("%s does not answer, %v long: %s", who, e.After, e.why())
}

// why says what the state of the process means.
func (e *SilentError) why() string {
	switch e.State {
	case 'T':
		return fmt.Sprintf("it is stopped (state T), by a signal: `kill -CONT %d` has it go on", e.PID)
	case 't':
		return "it is stopped by a debugger (state t)"
	case 'D':
		return "it waits for a disk or a device (state D)"
	case 'Z', 'X':
		return fmt.Sprintf("it has ended (state %c)", e.State)
	case 0:
		return "it is stopped or hung"
	}
	return fmt.Sprintf("it is hung, or gets no processor time (state %c)", e.State)
}

// processState returns the state of a process as in proc_pid_stat(5), 0 if it cannot be read.
func processState(pid int) byte {
	data, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if pid == 0 || err != nil {
		return 0
	}
	// The name in parentheses may have anything in it.
	if _, rest, ok := bytes.Cut(data[max(0, bytes.LastIndexByte(data, ')')):], []byte(") ")); ok && len(rest) > 0 {
		return rest[0]
	}
	return 0
}

// listener returns the process that listens where a connection leads to (SO_PEERCRED, unix(7)), 0
// if that is not known.
func listener(c net.Conn) int {
	u, ok := c.(*net.UnixConn)
	if !ok {
		return 0
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return 0
	}
	pid := 0
	_ = raw.Control(func(fd uintptr) {
		if cred, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); err == nil {
			pid = int(cred.Pid)
		}
	})
	return pid
}

// question is a request on its way, and its answer.
type question struct {
	c      *Client
	cancel context.CancelCauseFunc
	came   chan struct{} // something came
	begun  time.Time
	body   io.ReadCloser
}

// ask sends a request and returns once its answer begins. The question is the answer's body: what
// follows has to come without a long pause, unless endless, in which case it may pause for ever.
func (c *Client) ask(ctx context.Context, r *http.Request, endless bool) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	q := &question{c: c, cancel: cancel, came: make(chan struct{}, 1), begun: time.Now()}
	longest := longestRead
	if r.Method != http.MethodGet {
		longest = longestChange
	}
	begun := make(chan struct{})
	go q.watch(ctx, longest, begun, endless)
	resp, err := c.http.Do(r.WithContext(httptrace.WithClientTrace(ctx, trace)))
	close(begun)
	if err != nil {
		defer cancel(nil)
		return nil, q.failed(ctx, unreachable(err), false)
	}
	q.body = resp.Body
	resp.Body = &answerBody{q, ctx}
	return resp, nil
}

// failed returns why a question has failed; part says that its answer had begun.
func (q *question) failed(ctx context.Context, err error, part bool) error {
	var silent *SilentError
	if errors.As(context.Cause(ctx), &silent) {
		return silent
	}
	return gone(err, int(q.c.pid.Load()), part)
}

// watch gives up a question once the daemon is silent for too long.
func (q *question) watch(ctx context.Context, longest time.Duration, begun <-chan struct{}, endless bool) {
	t := time.NewTimer(silence)
	defer t.Stop()
	last := q.begun
	for {
		select {
		case <-ctx.Done():
			return
		case <-begun:
			if endless {
				return
			}
			begun, last = nil, time.Now()
			t.Reset(silence)
		case <-q.came:
			last = time.Now()
			t.Reset(silence)
		case <-t.C:
			answers := q.c.answers(ctx)
			pid := int(q.c.pid.Load())
			waited := time.Since(last).Round(time.Second)
			select {
			case <-begun: // meanwhile
				t.Reset(0)
				continue
			case <-q.came:
				last = time.Now()
				t.Reset(silence)
				continue
			default:
			}
			switch {
			case !answers:
				q.cancel(&SilentError{PID: pid, State: processState(pid), After: waited})
				return
			case waited >= longest:
				q.cancel(&SilentError{PID: pid, After: waited, Busy: true})
				return
			}
			t.Reset(silence)
		}
	}
}

// answers reports whether the daemon answers what it needs nothing for, on a connection of its own.
func (c *Client) answers(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(httptrace.WithClientTrace(ctx, trace), proofTime)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://hvrouter/", nil)
	if err != nil {
		return false
	}
	resp, err := c.http.Do(r)
	if err != nil {
		return false
	}
	resp.Body.Close() // a 404 is an answer
	return true
}

// answerBody is the body of an answer.
type answerBody struct {
	*question
	ctx context.Context
}

// Read implements [io.Reader].
func (b *answerBody) Read(p []byte) (int, error) {
	n, err := b.body.Read(p)
	select {
	case b.came <- struct{}{}:
	default:
	}
	if err != nil && err != io.EOF {
		err = b.failed(b.ctx, err, true)
	}
	return n, err
}

// Close implements [io.Closer].
func (b *answerBody) Close() error {
	b.cancel(nil)
	return b.body.Close()
}
