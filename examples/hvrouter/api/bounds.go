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
	// mostConnections are open at once. One more is answered with 503, so that its client hears
	// why.
	mostConnections = 256
	// requestTime is how long a request may take to come, and its answer to be taken. The stream
	// of events, whose clients may not read for as long as they like, has no end.
	requestTime = 30 * time.Second
	// idleTime is how long a connection may wait for its next request.
	idleTime = 2 * time.Minute
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

// inJSON gives the errors of a mux, which are plain text, the form of the others.
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

// limited is a listener with at most most connections.
type limited struct {
	net.Listener
	most int

	mu   sync.Mutex
	open int
}

// Accept implements [net.Listener].
func (l *limited) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		l.mu.Lock()
		full := l.open >= l.most
		if !full {
			l.open++
		}
		l.mu.Unlock()
		if !full {
			return &counted{Conn: c, l: l}, nil
		}
		l.refuse(c)
	}
}

// refuse answers a connection that is one too many. Its socket is empty: writing does not wait.
func (l *limited) refuse(c net.Conn) {
	text, _ := json.Marshal(Error{fmt.Sprintf("%d connections are open: want no more", l.most)})
	_ = c.SetWriteDeadline(time.Now().Add(time.Second))
	_, _ = fmt.Fprintf(c, "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", len(text), text)
	_ = c.Close()
}

// counted is a connection that counts.
type counted struct {
	net.Conn
	l    *limited
	once sync.Once
}

// Close implements [net.Conn].
func (c *counted) Close() error {
	c.once.Do(func() {
		c.l.mu.Lock()
		c.l.open--
		c.l.mu.Unlock()
	})
	return c.Conn.Close()
}
