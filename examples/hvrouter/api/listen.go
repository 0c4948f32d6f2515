package api

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// endTime bounds how long a daemon may take to end that does not answer any more.
	endTime = 10 * time.Second
	// answerTime is how long a daemon that works may take to answer: what is asked does
	// not wait for its loop.
	answerTime = time.Second
)

// Only makes the socket for the one daemon that may answer there, with mode 0600. Another
// daemon that answers is an error. One that does not is about to end, as is one that was
// killed until the kernel has closed everything it had: Only waits for its end, 10 s at
// most. Until release is called, or the program ends, no other daemon gets the socket.
func Only(ctx context.Context, path string) (l *net.UnixListener, release func(), err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, nil, err
	}
	// The socket's own file cannot be locked, and comes and goes.
	lock, err := os.OpenFile(path+".lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, nil, err
	}
	release = func() { lock.Close() }
	for patience := time.Now().Add(endTime); ; time.Sleep(2 * time.Millisecond) {
		free := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil
		there, answers := probe(ctx, path)
		switch {
		case free && !there:
			if l, err = listen(path, nil); err != nil {
				release()
			}
			return l, release, err
		case answers:
			err = errors.New("another daemon answers there")
		case ctx.Err() != nil:
			err = ctx.Err()
		case time.Now().After(patience):
			err = fmt.Errorf("another daemon has it, which neither answers nor ends within %v", endTime)
		default:
			continue
		}
		release()
		return nil, nil, &net.OpError{Op: "listen", Net: "unix", Addr: &net.UnixAddr{Name: path, Net: "unix"}, Err: err}
	}
}

// probe reports whether anybody has the socket, and whether a daemon answers there.
func probe(ctx context.Context, path string) (there, answers bool) {
	c, err := net.Dial("unix", path)
	if err != nil {
		return false, false
	}
	c.Close()
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, "GET", "http://hvrouter/", nil)
	if err != nil {
		return true, false
	}
	client := NewClient(path)
	defer client.http.CloseIdleConnections()
	resp, err := client.http.Do(r)
	if err == nil {
		resp.Body.Close()
	}
	return true, err == nil // a 404 is an answer
}
