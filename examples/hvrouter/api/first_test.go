package api

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptrace"
	"path/filepath"
	"strings"
	"testing"
)

// TestAnswerBeforeQuestion: a client hears an answer that comes before it has asked, and the end of a daemon that has closed the
// connection by then. Nothing goes to the standard log, which is the terminal.
func TestAnswerBeforeQuestion(t *testing.T) {
	var logged bytes.Buffer
	before := log.Writer()
	log.SetOutput(&logged)
	defer log.SetOutput(before)
	text := `{"error": "256 connections are open: want no more"}`
	for _, c := range []struct {
		answer string
		want   error
	}{
		{fmt.Sprintf("HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", len(text), text), ErrBusy},
		{"", ErrCutOff},
		{"HTTP/1.1 200 OK\r\n", ErrCutOff},
	} {
		path := filepath.Join(t.TempDir(), "s")
		l, err := net.Listen("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			for {
				c2, err := l.Accept()
				if err != nil {
					return
				}
				_, _ = io.WriteString(c2, c.answer)
				c2.Close()
			}
		}()
		for i := range 200 {
			client := NewClient(path)
			ask, post := client.Get(context.Background(), "/v1/health", &Health{}), client.Send(context.Background(), http.MethodPost, "/v1/guests", make([]byte, 300_000))
			if !errors.Is(ask, c.want) || !errors.Is(post, c.want) {
				t.Errorf("%.20q, client %d: %v, %v, want %v", c.answer, i, ask, post, c.want)
				break
			}
			client.http.CloseIdleConnections()
		}
		l.Close()
		<-ended
	}
	if logged.Len() > 0 {
		t.Errorf("in the log: %s", logged.String())
	}
}

// TestClosedWhileIdle: what net/http says of a connection that ended while nothing was asked is that the daemon ended.
func TestClosedWhileIdle(t *testing.T) {
	for _, text := range []string{"readLoopPeekFailLocked: %!w(<nil>)", "readLoopPeekFailLocked: read unix: connection timed out", "http: server closed idle connection"} {
		if err := gone(errors.New(text), 7, false); !errors.Is(err, ErrCutOff) || !strings.HasPrefix(err.Error(), "the daemon (pid 7) ended, or closed the connection") {
			t.Errorf("%s: %v", text, err)
		}
	}
	if err := gone(errors.New("another"), 7, false); errors.Is(err, ErrCutOff) {
		t.Errorf("%v", err)
	}
}

// TestQuestioned: a write fails if the connection was used before, and what was not asked is asked again.
func TestQuestioned(t *testing.T) {
	mine, its := net.Pipe()
	its.Close()
	q := newQuestioned(mine)
	if n, err := q.Write([]byte("GET")); n != 3 || err != nil {
		t.Errorf("the first question: %d, %v", n, err)
	}
	trace.GotConn(httptrace.GotConnInfo{Conn: q, Reused: true})
	if n, err := q.Write([]byte("GET")); n != 0 || err == nil {
		t.Errorf("the second question: %d, %v", n, err)
	}
}
