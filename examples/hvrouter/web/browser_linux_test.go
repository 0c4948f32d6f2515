package web

import (
	"context"
	"strings"
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
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- Serve(ctx, l, Handler("hv1", client)) }()
	defer func() {
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
	}()

	heard := func(ev any) {
		switch ev := ev.(type) {
		case *log.EventEntryAdded: // also what the Content-Security-Policy refuses
			if !strings.Contains(ev.Entry.URL, "favicon") {
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

	d.down()
	until("the session's end", func() bool {
		return line("198.51.100.126") == "bad" && line("198.51.100.226") == "good" && text("health") == "degraded" && strings.Contains(text("reasons"), "session-down") && strings.Contains(text("events"), "bgp-down")
	})
	d.stop()
	until("the daemon's silence", func() bool {
		return strings.Contains(text("error"), "does not answer") && text("health") == "no answer"
	})
	if got := text("sessions"); strings.Count(got, "\n") != 2 {
		t.Errorf("what was known is gone: %s", got)
	}
}
