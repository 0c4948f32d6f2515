package web

import (
	"bytes"
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"time"

	"github.com/hyperfib/hyperfib/examples/hvrouter/api"
	"github.com/hyperfib/hyperfib/examples/hvrouter/overview"
)

//go:embed page
var files embed.FS

const (
	maxReaders = 8                      // pages at a time: each asks the daemon each second, as `top` does
	every      = time.Second            // looks again
	pause      = 100 * time.Millisecond // between looks, when events come one upon another
	sign       = 15 * time.Second       // of life, without news
	patience   = 10 * time.Second       // with a browser that takes nothing
)

// policy allows a page what comes from this server, and nothing else: no inline script, no other site.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; frame-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"

// Serve serves h on l until ctx ends. It closes l. What comes over TCP goes through [Loopback].
func Serve(ctx context.Context, l net.Listener, h http.Handler) error {
	if _, unix := l.(*net.UnixListener); !unix {
		h = Loopback(h)
	}
	s := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: patience, IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10,
		BaseContext: func(net.Listener) context.Context { return ctx }, // which ends the streams
	}
	stop := context.AfterFunc(ctx, func() { s.Close() })
	defer stop()
	if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// Loopback passes on requests whose Host is a loopback address or localhost, and refuses others.
func Loopback(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !local(r.Host) {
			http.Error(w, "this page is for 127.0.0.1, [::1] and localhost", http.StatusMisdirectedRequest)
			return
		}
		h.ServeHTTP(w, r)
	})
}

// Handler answers requests for the page of the daemon of a host: for / and what is below.
func Handler(host string, client *api.Client) http.Handler {
	page, err := fs.Sub(files, "page")
	if err != nil {
		panic(err) // the directory is in the binary
	}
	s := &site{client: client, name: host, readers: make(chan struct{}, maxReaders)}
	mux := http.NewServeMux()
	mux.Handle("GET /", http.FileServerFS(page))
	mux.HandleFunc("GET /state", s.stream)
	return Guarded(mux)
}

// Guarded has browsers load nothing from elsewhere for the pages of h, and show them in no frame of another
// site. Pages of other sites, and of other ports of this host, may link to them, and get nothing else: not even
// a place among the readers.
func Guarded(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// Browsers say it to loopback addresses (Fetch Metadata Request Headers, Section 2.4); what is no browser does not.
		site := r.Header.Get("Sec-Fetch-Site")
		if site != "" && site != "none" && site != "same-origin" && r.Header.Get("Sec-Fetch-Dest") != "document" {
			http.Error(w, "this is for its own page alone", http.StatusForbidden)
			return
		}
		head := w.Header()
		head.Set("Content-Security-Policy", policy)
		head.Set("X-Content-Type-Options", "nosniff")
		head.Set("Cross-Origin-Resource-Policy", "same-origin")
		head.Set("Referrer-Policy", "no-referrer")
		head.Set("Cache-Control", "no-store")
		h.ServeHTTP(w, r)
	})
}

type site struct {
	client  *api.Client
	name    string        // of the host
	readers chan struct{} // one for each page that is open
}

// stream sends the state as server-sent events, whenever it has changed, until the browser goes. A browser
// that is slow misses states, and none waits for it; one that takes nothing for a while is given up.
func (s *site) stream(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	select {
	case s.readers <- struct{}{}:
		defer func() { <-s.readers }()
	default:
		// An error would have the browser give up for good: it says this, and asks again.
		fmt.Fprintf(w, "retry: 5000\nevent: full\ndata: %d pages are open, which is the most. This one waits for its turn.\n\n", maxReaders)
		return
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	watcher := overview.NewWatcher(s.client)
	go watcher.Follow(ctx)
	control := http.NewResponseController(w)
	tick := time.NewTicker(every)
	defer tick.Stop()
	var now overview.Moment
	var sent []byte
	for at := time.Now(); ; {
		now = watcher.Look(ctx, now)
		text, err := json.Marshal(show(s.name, now))
		if err != nil || ctx.Err() != nil {
			return
		}
		line := "event: alive\ndata:\n\n" // which a page waits for: a tunnel may have died without a word
		if !bytes.Equal(text, sent) {
			line = "data: " + string(text) + "\n\n"
		} else if time.Since(at) < sign {
			line = ""
		}
		if line != "" {
			sent, at = text, time.Now()
			_ = control.SetWriteDeadline(at.Add(patience))
			if _, err := w.Write([]byte(line)); err != nil || control.Flush() != nil {
				return
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-watcher.Came():
		}
	}
}
