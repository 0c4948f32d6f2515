package main

import (
	"context"
	"errors"
	"io"
	"net"
	"path/filepath"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/examples/bfdd/bfddp"
)

// TestRead: what a bfdd has sent before its connection ends is taken, in however many pieces it
// comes. One that dies within a message is gone.
func TestRead(t *testing.T) {
	message, err := (&bfddp.Message{Version: 1, Type: bfddp.TypeEchoRequest}).AppendBinary(nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		pieces [][]byte
		want   int
		err    error
	}{
		{"nothing", nil, 0, io.EOF},
		{"a message", [][]byte{message}, 1, io.EOF},
		{"in two pieces", [][]byte{message[:5], message[5:]}, 1, io.EOF},
		{"half of one", [][]byte{message[:5]}, 0, io.ErrUnexpectedEOF},
		{"one and a half", [][]byte{message, message[:5]}, 1, io.ErrUnexpectedEOF},
	} {
		t.Run(c.name, func(t *testing.T) {
			bfdd, ours := pair(t)
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			s := &shell{inbox: make(chan any), ctx: ctx}
			s.ended.Go(func() { s.read(&connection{UnixConn: ours}) })
			defer s.ended.Wait()
			defer ours.Close()
			go func() {
				for _, b := range c.pieces {
					_, _ = bfdd.Write(b)
				}
				bfdd.Close()
			}()
			for got := 0; ; {
				select {
				case what := <-s.inbox:
					switch v := what.(type) {
					case received:
						got += len(v.batch)
						close(v.taken)
					case closed:
						if got != c.want || !errors.Is(v.err, c.err) {
							t.Errorf("%d messages, %v, want %d, %v", got, v.err, c.want, c.err)
						}
						return
					}
				case <-ctx.Done():
					t.Fatal("the end is not noticed")
				}
			}
		})
	}
}

// pair returns the two ends of a connection.
func pair(t *testing.T) (dialed, accepted *net.UnixConn) {
	t.Helper()
	at := &net.UnixAddr{Name: filepath.Join(t.TempDir(), "dp"), Net: "unix"}
	l, err := net.ListenUnix("unix", at)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if dialed, err = net.DialUnix("unix", nil, at); err != nil {
		t.Fatal(err)
	}
	if accepted, err = l.AcceptUnix(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dialed.Close(); accepted.Close() })
	return dialed, accepted
}
