package journal

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
)

func TestHandler(t *testing.T) {
	var j Journal
	var text bytes.Buffer
	log := slog.New(j.Handler(slog.NewTextHandler(&text, &slog.HandlerOptions{Level: slog.LevelWarn})))
	r, err := j.Subscribe(0)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	log.With("netns", "red").WithGroup("g").Info("session up", "event", "bgp-up", "peer", netip.MustParseAddr("192.0.2.1"), "err", error(nil))
	log.Info("no event")
	log.Debug("too low", "event", "debug")
	log.Warn("gone", "event", "bfd-down", "reason", "")
	list, err := r.Next(t.Context())
	if err != nil || len(list) != 2 {
		t.Fatalf("%+v, %v", list, err)
	}
	if e := list[0]; e.Name != "bgp-up" || e.Level != "INFO" || e.Message != "session up" || len(e.Attrs) != 2 || e.Attrs["netns"] != "red" || e.Attrs["peer"] != "192.0.2.1" {
		t.Errorf("%+v", e)
	}
	if e := list[1]; e.Name != "bfd-down" || len(e.Attrs) != 0 {
		t.Errorf("%+v", e)
	}
	if got := text.String(); strings.Contains(got, "session up") || !strings.Contains(got, "gone") {
		t.Errorf("the log has %s", got)
	}
	late, err := j.Subscribe(1)
	if err != nil {
		t.Fatal(err)
	}
	if list, _ := late.Next(t.Context()); len(list) != 1 || list[0].Name != "bfd-down" {
		t.Errorf("a reader who comes later: %+v", list)
	}
}

// A reader that does not read costs what it has room for, holds nobody up, and hears how
// much it has lost.
func TestSlowReader(t *testing.T) {
	var j Journal
	slow, _ := j.Subscribe(0)
	quick, _ := j.Subscribe(0)
	const all = 3*readerRoom + 17
	got := 0
	for i := range all {
		j.Publish(Event{Name: strconv.Itoa(i)})
		list, err := quick.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		got += len(list)
	}
	if got != all {
		t.Errorf("the quick reader got %d of %d", got, all)
	}
	list, _ := slow.Next(t.Context())
	if len(list) != readerRoom+1 || list[0].Name != Lost || list[0].Attrs["count"] != strconv.Itoa(all-readerRoom) {
		t.Fatalf("%d events, the first %+v", len(list), list[0])
	}
	for i, e := range list[1:] {
		if e.Name != strconv.Itoa(all-readerRoom+i) {
			t.Fatalf("event %d is %s", i, e.Name)
		}
	}
	j.Publish(Event{Name: "more"})
	if list, _ := slow.Next(t.Context()); len(list) != 1 || list[0].Name != "more" {
		t.Errorf("afterwards: %+v", list)
	}
	slow.Close()
	j.Publish(Event{})
	if list := slow.take(); len(list) != 0 {
		t.Error("a reader that is closed")
	}
}

func TestBounds(t *testing.T) {
	var j Journal
	for range most {
		if _, err := j.Subscribe(1 << 20); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := j.Subscribe(0); !errors.Is(err, ErrTooMany) {
		t.Error(err)
	}
	for range 2 * keep {
		j.Publish(Event{})
	}
	if len(j.recent) != keep {
		t.Errorf("%d kept", len(j.recent))
	}
}

func TestNextEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j Journal
		r, _ := j.Subscribe(0)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { _, err := r.Next(ctx); done <- err }()
		synctest.Wait()
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
}
