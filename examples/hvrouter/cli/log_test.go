package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
)

// TestFold: equal lines are written once, and then counted; others are not held up.
func TestFold(t *testing.T) {
	var b bytes.Buffer
	l, log := newLogging(&b)
	var due []func()
	l.fold.after = func(d time.Duration, f func()) {
		if d != foldTime {
			t.Errorf("after %v", d)
		}
		due = append(due, f)
	}
	fire := func() {
		list := due
		due = nil
		for _, f := range list {
			f()
		}
	}
	count := func(want string, n int) {
		t.Helper()
		if got := strings.Count(b.String(), want); got != n {
			t.Errorf("%d lines with %q, want %d:\n%s", got, want, n, &b)
		}
	}
	peer := log.With("peer", "a")
	for range 50 {
		peer.Warn("down", "event", "bgp-error")
		log.With("peer", "b").Warn("down", "event", "bgp-error")
	}
	count("peer=a", 1)
	count("peer=b", 1)
	fire()
	count("times=49", 2)
	fire() // nothing came: both are forgotten
	count("peer=a", 2)
	if len(l.fold.seen) != 0 || len(due) != 0 {
		t.Errorf("%d lines are remembered, %d timers", len(l.fold.seen), len(due))
	}
	peer.Warn("down", "event", "bgp-error")
	peer.Warn("down", "event", "bgp-error")
	count("peer=a", 3)
	l.flush()
	count("times=1", 1)
	for i := range 2 * mostFolds {
		log.Warn(fmt.Sprint("line ", i))
	}
	if len(l.fold.seen) > mostFolds {
		t.Errorf("%d lines are remembered", len(l.fold.seen))
	}
	count("msg=\"line ", 2*mostFolds)
}

// TestLogFormat: level and format may change while a logger is used.
func TestLogFormat(t *testing.T) {
	var b bytes.Buffer
	l, log := newLogging(&b)
	log = log.With("domain", "public")
	log.Debug("not written")
	l.configure(&config.Config{Log: "debug", LogFormat: "json"})
	log.Debug("written", "event", "x")
	var line map[string]string
	if err := json.Unmarshal(b.Bytes(), &line); err != nil || line["domain"] != "public" || line["event"] != "x" || line["msg"] != "written" {
		t.Errorf("%v: %s", err, &b)
	}
	b.Reset()
	l.configure(&config.Config{Log: "warn", LogFormat: "text"})
	log.Info("not written")
	log.Warn("w")
	if got := b.String(); !strings.Contains(got, "level=WARN msg=w domain=public\n") || strings.Contains(got, "not written") {
		t.Error(got)
	}
	if log.Enabled(t.Context(), slog.LevelInfo) {
		t.Error("INFO is enabled")
	}
}
