package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"
)

// Bounds of what clients may take of the daemon. They are many times what the commands, an
// orchestrator and Prometheus need together.
const (
	// mostConnections are open at once. One more takes the place of the one that has waited longest
	// for its next request; if none waits it is answered with 503, so that its client hears why.
	mostConnections = 256
	// requestTime is how long a request may take to come, and its answer to be taken. The stream
	// of events, whose clients may not read for as long as they like, has no end.
	requestTime = 30 * time.Second
	// idleTime is how long a connection may wait for its next request.
	idleTime = 2 * time.Minute
	// mostRefused are connections that are one too many and are heard before they are answered, each
	// for refuseTime at most. One more takes the place of the one that is heard longest.
	mostRefused = 16
	refuseTime  = 3 * time.Second
)

// bounded refuses queries that could be misread, in which the daemon would see less than was
// written; and gives what comes and what goes its time.
func bounded(mux *http.ServeMux) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var end time.Time
		if r.URL.Path != eventsPath {
			end = time.Now().Add(requestTime)
		}
		c := http.NewResponseController(w)
		_ = c.SetReadDeadline(end) // a recorder of a test has no deadlines
		_ = c.SetWriteDeadline(end)
		if err := unambiguous(r); err != nil {
			answer(w, r, func(*http.Request) (any, error) { return nil, err })
			return
		}
		h, pattern := mux.Handler(r)
		if pattern == "" {
			h = inJSON(h)
		} else {
			h = mux // which sets the values of the path
		}
		h.ServeHTTP(w, r)
	})
}

// unambiguous refuses what [url.URL.Query] leaves out, and parameters that come twice or are
// empty: `?dry-run` would be a reload.
func unambiguous(r *http.Request) error {
	q, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return bad(fmt.Errorf("the query %q: %w", r.URL.RawQuery, err))
	}
	for name, values := range q {
		switch {
		case len(values) > 1:
			return bad(fmt.Errorf("the parameter %q comes %d times", name, len(values)))
		case values[0] == "" && !slices.Contains(mayBeEmpty, name):
			return bad(fmt.Errorf("the parameter %q is empty", name))
		}
	}
	return nil
}

// mayBeEmpty are parameters of which "" means something: every event, a file without a name.
var mayBeEmpty = []string{"event", "file"}

// inJSON writes the errors of a mux, which are plain text, in the form of the others.
func inJSON(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var s statusOnly
		s.header = w.Header()
		h.ServeHTTP(&s, r)
		answer(w, r, func(*http.Request) (any, error) {
			text := fmt.Sprintf("%s %s: %s", r.Method, r.URL.Path, http.StatusText(s.code))
			if allow := s.header.Get("Allow"); allow != "" {
				text += ": want " + allow
			}
			return nil, status{s.code, errors.New(text)}
		})
	})
}

// statusOnly takes the status and the header of an answer.
type statusOnly struct {
	header http.Header
	code   int
}

func (s *statusOnly) Header() http.Header         { return s.header }
func (s *statusOnly) Write(b []byte) (int, error) { return len(b), nil }
func (s *statusOnly) WriteHeader(code int)        { s.code = code }

// readBody reads the body of a request of at most limit octets.
func readBody(w http.ResponseWriter, r *http.Request, limit int64) error {
	text, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return status{http.StatusRequestEntityTooLarge, fmt.Errorf("the body is too large: want at most %d octets", limit)}
	case err != nil:
		return bad(err)
	}
	r.Body = io.NopCloser(bytes.NewReader(text))
	// What the request does may take its time; the end of the client is no reason to stop it.
	_ = http.NewResponseController(w).SetReadDeadline(time.Time{})
	return nil
}

// limited is a listener with at most most connections, beside those whose end has not been noticed.
type limited struct {
	net.Listener
	most int

	mu   sync.Mutex
	open map[*counted]bool // true: it waits for its next request
	idle []*counted        // those, the longest first

	heard []*heard // connections that are one too many, the one heard longest first
}

// Accept implements [net.Listener].
func (l *limited) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		mine, displaced := l.admit(c)
		if displaced != nil {
			_ = displaced.Close()
		}
		if mine != nil {
			return mine, nil
		}
		l.hear(c)
	}
}

// heard is a connection that is one too many, while it is heard.
type heard struct {
	net.Conn
	done chan struct{} // closed once it is closed
}

// hear refuses a connection in the middle of what its client asks. An answer before the question, or
// an end before all of the question is taken, looks to a client as if the daemon had died. If as many as may are heard,
// the one heard longest is answered and closed before; one that asks is answered at once, so that it is one that is silent, or slow.
// Only Accept calls hear.
func (l *limited) hear(c net.Conn) {
	l.mu.Lock()
	var longest *heard
	if len(l.heard) >= mostRefused {
		longest = l.heard[0]
	}
	l.mu.Unlock()
	if longest != nil {
		_ = longest.SetReadDeadline(time.Unix(1, 0)) // its socket is empty: the answer does not wait
		<-longest.done
	}
	end := time.Now().Add(refuseTime)
	_ = c.SetReadDeadline(end)
	_ = c.SetWriteDeadline(end.Add(time.Second)) // for the answer to one that has asked nothing
	h := &heard{c, make(chan struct{})}
	l.mu.Lock()
	l.heard = append(l.heard, h)
	l.mu.Unlock()
	go l.answer(h)
}

// answer waits for the beginning of the question, refuses it and takes the rest.
func (l *limited) answer(h *heard) {
	_, _ = h.Read(make([]byte, 512))
	l.refuse(h)
	if half, ok := h.Conn.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
	}
	_, _ = io.Copy(io.Discard, h)
	_ = h.Close()
	l.mu.Lock()
	l.heard = slices.DeleteFunc(l.heard, func(other *heard) bool { return other == h })
	l.mu.Unlock()
	close(h.done)
}

// admit counts a connection, and returns the one that has to go for it. It returns nil if there is
// no room.
func (l *limited) admit(c net.Conn) (mine, displaced *counted) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.open) >= l.most {
		if len(l.idle) == 0 {
			return nil, nil
		}
		displaced = l.idle[0]
		l.forget(displaced)
	}
	if l.open == nil {
		l.open = map[*counted]bool{}
	}
	mine = &counted{Conn: c, l: l}
	l.open[mine] = false
	return mine, displaced
}

// forget stops counting a connection. The lock is held.
func (l *limited) forget(c *counted) {
	l.setIdle(c, false)
	delete(l.open, c)
}

// setIdle notes whether a connection waits for its next request. The lock is held.
func (l *limited) setIdle(c *counted, idle bool) {
	was, open := l.open[c]
	if !open || was == idle {
		return
	}
	l.open[c] = idle
	if idle {
		l.idle = append(l.idle, c)
	} else if i := slices.Index(l.idle, c); i >= 0 {
		l.idle = slices.Delete(l.idle, i, i+1)
	}
}

// state is for [http.Server.ConnState].
func (l *limited) state(c net.Conn, s http.ConnState) {
	if c, ok := c.(*counted); ok {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.setIdle(c, s == http.StateIdle)
	}
}

// refuse answers a connection that is one too many. Its socket is empty: writing does not wait.
func (l *limited) refuse(c net.Conn) {
	text, _ := json.Marshal(Error{Message: fmt.Sprintf("%d connections are open: want no more", l.most)})
	_, _ = fmt.Fprintf(c, "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", len(text), text)
}

// counted is a connection that counts.
type counted struct {
	net.Conn
	l *limited
}

// Close implements [net.Conn].
func (c *counted) Close() error {
	c.l.mu.Lock()
	c.l.forget(c)
	c.l.mu.Unlock()
	return c.Conn.Close()
}
