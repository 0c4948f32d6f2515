package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/hyperfib/hyperfib/examples/hvrouter/api"
)

// healthTime is how long a daemon that answers other questions may take to say how it is: who asks
// may be a monitoring system, which does not wait.
const healthTime = 8 * time.Second

// health prints how the hypervisor is. The exit code is 0 healthy, 1 degraded, 2 broken: also if no
// daemon answers, since guests that come are not served then, and routes that go stay.
func (in invocation) health(socket string, asJSON bool) int {
	ctx, cancel := context.WithTimeoutCause(context.Background(), healthTime, &api.SilentError{After: healthTime, Busy: true})
	defer cancel()
	var h api.Health
	if err := api.NewClient(socket).Get(ctx, "/v1/health", &h); err != nil {
		r := api.Reason{Level: api.Broken, Kind: "no-daemon", Text: fmt.Sprintf("no daemon answers: %v; `hvrouter check` says what in the configuration or on the host keeps it from starting", err)}
		if silent := new(api.SilentError); errors.As(err, &silent) {
			r.Kind, r.Text = "no-answer", silent.Error()
		}
		h = api.Health{State: api.Broken, Reasons: []api.Reason{r}}
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
