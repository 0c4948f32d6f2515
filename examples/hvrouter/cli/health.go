package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"time"

	"github.com/hyperfib/hyperfib/examples/hvrouter/api"
)

// healthTime is how long a daemon that answers other questions may take to say how it is: who asks
// may be a monitoring system, which does not wait.
const healthTime = 8 * time.Second

// health prints how the hypervisor is. The exit code is 0 healthy, 1 degraded, 2 broken: also if no
// daemon answers, since guests that come are not served then, and routes that go stay; and 3 if it
// cannot be asked, for a reason that says nothing about it.
func (in invocation) health(socket string, asJSON bool) int {
	ctx, cancel := context.WithTimeoutCause(context.Background(), healthTime, &api.SilentError{After: healthTime, Busy: true})
	defer cancel()
	var h api.Health
	err := api.NewClient(socket).Get(ctx, "/v1/health", &h)
	if err == nil && !slices.Contains([]string{api.Healthy, api.Degraded, api.Broken}, h.State) {
		err = fmt.Errorf("the daemon's answer has no state that is known: %q", h.State)
	}
	if err != nil {
		r := unasked(err)
		h = api.Health{State: r.Level, Reasons: []api.Reason{r}}
	}
	print := printHealth
	if asJSON {
		print = encoded[api.Health]
	}
	var b bytes.Buffer
	if err := print(&b, h); err != nil {
		return in.fail(exitBroken, err)
	}
	text := b.Bytes()
	if !asJSON && colours(in.stdout) {
		text = coloured(text)
	}
	if _, err := in.stdout.Write(text); err != nil {
		return in.fail(exitBroken, err)
	}
	return h.Number()
}

// unasked is the reason in the place of those that the daemon would have named.
func unasked(err error) api.Reason {
	var silent *api.SilentError
	var dial *net.OpError
	switch {
	case errors.As(err, &silent):
		return api.Reason{Level: api.Broken, Kind: "no-answer", Text: silent.Error()}
	case errors.Is(err, api.ErrNoDaemon):
		return api.Reason{Level: api.Broken, Kind: "no-daemon", Text: fmt.Sprintf("no daemon answers: %v; `hvrouter check` says what in the configuration or on the host keeps it from starting", err)}
	case errors.Is(err, api.ErrNotPermitted):
		return api.Reason{Level: api.Unknown, Kind: "not-permitted", Text: err.Error()}
	case errors.Is(err, api.ErrBusy):
		return api.Reason{Level: api.Unknown, Kind: "busy", Text: fmt.Sprintf("the daemon runs and answers no more clients: %v; `ss -xp` shows whose connections they are", err)}
	case errors.As(err, &dial) && dial.Op == "dial":
		return api.Reason{Level: api.Unknown, Kind: "not-asked", Text: fmt.Sprintf("the daemon could not be asked: %v", err)}
	}
	return api.Reason{Level: api.Broken, Kind: "failed-answer", Text: fmt.Sprintf("a daemon was asked, and has not answered as it should: %v", err)}
}

func printHealth(w io.Writer, h api.Health) error {
	if _, err := fmt.Fprintln(w, h.State); err != nil {
		return err
	}
	for _, r := range h.Reasons {
		if _, err := fmt.Fprintf(w, "%s: %s: %s\n", r.Level, r.Kind, r.Text); err != nil {
			return err
		}
	}
	return nil
}
