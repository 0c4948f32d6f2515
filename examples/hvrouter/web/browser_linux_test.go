package web

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"github.com/hyperfib/hyperfib/internal/testing/nstest"
)

// TestBrowser: Debian's chromium shows the page, follows what happens without being told to look again, and
// takes nothing for markup.
func TestBrowser(t *testing.T) {
	if testing.Short() {
		t.Skip("needs a browser and seconds")
	}
	bin := nstest.Need(t, "chromium", "/usr/bin")
	d, client := newFakeDaemon(t)
	l, err := Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	handler := Handler("hv1", client)
	serve := func(l net.Listener) (end func()) {
		ctx, cancel := context.WithCancel(context.Background())
		served := make(chan error, 1)
		go func() { served <- Serve(ctx, l, handler) }()
		return sync.OnceFunc(func() {
			cancel()
			if err := <-served; err != nil {
				t.Error(err)
			}
		})
	}
	end := serve(l)
	defer func() { end() }()

	heard := func(ev any) {
		switch ev := ev.(type) {
		case *log.EventEntryAdded: // also what the Content-Security-Policy refuses
			if !strings.Contains(ev.Entry.URL, "favicon") && !strings.Contains(ev.Entry.Text, "ERR_CONNECTION_REFUSED") && !strings.Contains(ev.Entry.Text, "ERR_INCOMPLETE_CHUNKED_ENCODING") {
				t.Errorf("%s: %s %s", ev.Entry.Level, ev.Entry.Text, ev.Entry.URL)
			}
		case *runtime.EventExceptionThrown:
			t.Errorf("exception: %+v", ev.ExceptionDetails)
		}
	}
	browser, done := context.WithTimeout(context.Background(), 2*time.Minute)
	defer done()
	browser, done = chromedp.NewContext(browser, chromedp.WithListener(heard), chromedp.WithAllocatorOptions(
		chromedp.ExecPath(bin), chromedp.NoSandbox, chromedp.UserDataDir(t.TempDir()), chromedp.Flag("disable-dev-shm-usage", true), chromedp.WindowSize(1100, 900)))
	defer done()
	evaluate := func(script string) string {
		t.Helper()
		s, err := chromedp.Run(browser, chromedp.Evaluate[string](script))
		if err != nil {
			t.Fatalf("%s: %v", script, err)
		}
		return s
	}
	text := func(id string) string {
		t.Helper()
		return evaluate(`document.getElementById("` + id + `").innerText`)
	}
	// line is the class of the line to a peer.
	line := func(peer string) string {
		t.Helper()
		return evaluate(`document.querySelector('#picture line[data-peer="` + peer + `"]')?.getAttribute("class") ?? ""`)
	}
	until := func(what string, cond func() bool) {
		t.Helper()
		nstest.Wait(t, 10*time.Second, what, cond)
	}

	if err := chromedp.Do(browser, chromedp.Navigate("http://"+l.Addr().String()+"/")); err != nil {
		t.Fatal(err)
	}
	until("the sessions", func() bool { return strings.Count(text("sessions"), "Established") == 2 })
	if text("health") != "healthy" || line("198.51.100.126") != "good" || line("198.51.100.226") != "good" || !strings.Contains(text("sessions"), "5001") || !strings.Contains(text("bfd"), "500ms") {
		t.Errorf("%s\n%s\n%s %s\n%s", text("health"), text("sessions"), line("198.51.100.126"), line("198.51.100.226"), text("bfd"))
	}
	if got := text("guests"); !strings.Contains(got, "<img src=x onerror=alert(1)>") || !strings.Contains(got, "its address is vm1's") || !strings.Contains(got, "203.0.113.1") {
		t.Errorf("guests: %s", got)
	}
	if evaluate(`String(document.querySelectorAll("img").length)`) != "0" {
		t.Error("a guest's name has become markup")
	}

	evaluate(`document.getElementById("guests").rows[1].marked = "marked"`)
	d.down("Idle")
	until("the session's end", func() bool {
		return line("198.51.100.126") == "bad" && line("198.51.100.226") == "good" && text("health") == "degraded" && strings.Contains(text("reasons"), "session-down") && strings.Contains(text("events"), "<img src=y>")
	})
	d.down("Connect")
	until("its next attempt", func() bool { return strings.Contains(text("sessions"), "Connect") })
	if got := line("198.51.100.126"); got != "bad" {
		t.Errorf("a session that tries in vain is %q", got)
	}
	if got := evaluate(`document.getElementById("guests").rows[1].marked ?? ""`); got != "marked" {
		t.Error("a table that has not changed was made anew")
	}

	// A small screen: tables are moved by themselves, and the picture is drawn for it.
	if err := chromedp.Do(browser, chromedp.EmulateViewport(390, 800)); err != nil {
		t.Fatal(err)
	}
	until("a picture for 390 pixels", func() bool {
		return evaluate(`String(document.documentElement.scrollWidth <= 390 && 13 * document.getElementById("picture").clientWidth / document.getElementById("picture").viewBox.baseVal.width > 9)`) == "true"
	})

	// A connection that is dead without a word is another one soon.
	evaluate(`window.before = source; heard = 0; ""`)
	until("another connection", func() bool {
		return evaluate(`String(source !== before && source.readyState === EventSource.OPEN && heard > 0)`) == "true"
	})

	// The program that serves the page goes, and comes back, while others have all places.
	end()
	until("its silence", func() bool { return strings.Contains(text("error"), "does not answer") })
	if got := evaluate(`document.title`); got != "hv1: no answer" {
		t.Errorf("title: %s", got)
	}
	var places []io.Closer
	for range maxReaders {
		place, taken := net.Pipe()
		places = append(places, place)
		go handler.ServeHTTP(&pipeWriter{taken}, httptest.NewRequest("GET", "/state", nil).WithContext(t.Context()))
		if _, err := place.Read(make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
	}
	if l, err = Listen(l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	end = serve(l)
	until("that it waits", func() bool { return strings.Contains(text("error"), "8 pages are open") })
	for _, place := range places {
		place.Close()
	}
	until("its turn", func() bool { return evaluate(`String(document.getElementById("error").hidden)`) == "true" })

	d.stop()
	until("the daemon's silence", func() bool {
		return strings.Contains(text("error"), "The daemon does not answer") && text("health") == "no answer"
	})
	if got := text("sessions"); strings.Count(got, "\n") != 2 {
		t.Errorf("what was known is gone: %s", got)
	}
}

// pipeWriter is a browser that takes what it is sent at its own speed.
type pipeWriter struct{ net.Conn }

func (*pipeWriter) Header() http.Header { return http.Header{} }
func (*pipeWriter) WriteHeader(int)     {}
func (*pipeWriter) Flush()              {}
