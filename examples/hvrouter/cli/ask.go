package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"

	"github.com/hyperfib/hyperfib/examples/hvrouter/api"
)

// diff exits 1 if there is a difference, and 2 if that could not be found out. With a file it is what a reload with it would do.
func diff(in invocation) int {
	fs := in.flags("diff")
	socket := in.api(fs)
	asJSON := fs.Bool("j", false, "JSON")
	words, ok := in.words(fs, 0, 1)
	if !ok {
		return exitUsage
	}
	if len(words) == 1 {
		return in.foresee(*socket, words[0], *asJSON)
	}
	differs := false
	v := view{path: "/v1/diff", print: func(w io.Writer, data []byte) error {
		var all []api.Difference
		if err := json.Unmarshal(data, &all); err != nil {
			return err
		}
		differs = len(all) > 0
		if *asJSON {
			return indented(w, data)
		}
		for _, d := range all {
			if d.NetNS != "" {
				fmt.Fprintf(w, "netns %s: ", d.NetNS)
			}
			fmt.Fprintf(w, "%s %s: want %q, have %q\n", d.Op, d.What, d.Want, d.Have)
		}
		return nil
	}}
	switch code := in.present(*socket, v, false); {
	case code != exitOK:
		return exitUsage
	case differs:
		return exitFailed
	}
	return exitOK
}

func (in invocation) send(socket, method, path string, body []byte) int {
	done, err := api.NewClient(socket).Done(context.Background(), method, path, body)
	if err != nil {
		return in.fail(exitFailed, err)
	}
	if done.Unwritten != "" {
		return in.fail(exitBrief, fmt.Errorf("done, but not written down: %s", done.Unwritten))
	}
	if done.Volatile != "" {
		fmt.Fprintln(in.stderr, done.Volatile)
	}
	return exitOK
}

func metrics(in invocation) int {
	fs := in.flags("metrics")
	socket := in.api(fs)
	if _, ok := in.words(fs, 0, 0); !ok {
		return exitUsage
	}
	text, err := api.NewClient(*socket).Text(context.Background(), "/metrics")
	if err != nil {
		return in.fail(exitFailed, err)
	}
	fmt.Fprint(in.stdout, text)
	return exitOK
}
