package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os/signal"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/hyperfib/hyperfib/examples/hvrouter/api"
	"github.com/hyperfib/hyperfib/examples/hvrouter/journal"
)

// errEnough ends watch after as many events as were asked for.
var errEnough = errors.New("enough")

// watch prints events until it is interrupted or the daemon ends.
func watch(in invocation) int {
	fs := in.flags("watch")
	socket := in.api(fs)
	asJSON := fs.Bool("j", false, "one JSON object a line, as it comes")
	pattern := fs.String("event", "", "only events of this name, or of a `PATTERN` such as bgp-*")
	recent := fs.Int("recent", 0, "begin with up to `N` events of before")
	count := fs.Int("n", 0, "end after `N` events")
	if _, ok := in.words(fs, 0, 0); !ok {
		return exitUsage
	}
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGINT, unix.SIGTERM)
	defer stop()
	n := 0
	err := api.NewClient(*socket).Events(ctx, *pattern, *recent, func(e journal.Event, line []byte) error {
		if err := printEvent(in.stdout, e, line, *asJSON); err != nil {
			return err
		}
		if n++; n == *count {
			return errEnough
		}
		return nil
	})
	if errors.Is(err, errEnough) || ctx.Err() != nil {
		return exitOK
	}
	return in.fail(exitFailed, err)
}

func printEvent(w io.Writer, e journal.Event, line []byte, asJSON bool) error {
	if asJSON {
		_, err := fmt.Fprintf(w, "%s\n", line)
		return err
	}
	_, err := fmt.Fprintln(w, eventText(e))
	return err
}

// eventText is an event in one line, without what a message says again.
func eventText(e journal.Event) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %-5s %s", e.Time.Format("2006-01-02T15:04:05.000000"), e.Level, e.Name)
	for _, k := range slices.Sorted(maps.Keys(e.Attrs)) {
		v := e.Attrs[k]
		if strings.ContainsAny(v, " \"=\n\t") {
			v = strconv.Quote(v)
		}
		fmt.Fprintf(&b, " %s=%s", k, v)
	}
	return b.String()
}
