package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/hyperfib/hyperfib/examples/hvrouter/api"
	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/examples/hvrouter/files"
)

// reload prints what changes, or would change, and exits 1 if nothing was done. `reload confirm`
// and `reload cancel` decide about one that waits.
func reload(in invocation) int {
	fs := in.flags("reload")
	socket := in.api(fs)
	var opt api.ReloadOptions
	fs.BoolVar(&opt.Force, "force", false, "also if sessions, an uplink, or the way by which the hypervisor is reached are lost")
	fs.BoolVar(&opt.DryRun, "dry-run", false, "only say what would be done")
	fs.DurationVar(&opt.Confirm, "confirm", 0, "roll back after this `TIME` unless \"hvrouter reload confirm\" comes")
	words, ok := in.words(fs, 0, 1)
	if !ok {
		return exitUsage
	}
	if set(fs, "confirm") && opt.Confirm <= 0 {
		return in.fail(exitUsage, fmt.Errorf("-confirm %v: want a time, such as 5m", opt.Confirm))
	}
	if len(words) == 1 {
		switch words[0] {
		case "confirm", "cancel":
			if fs.NFlag() > 1 || fs.NFlag() == 1 && !set(fs, "api") {
				return in.fail(exitUsage, fmt.Errorf("reload %s takes no flag but -api; a file of that name is ./%s", words[0], words[0]))
			}
			return in.send(*socket, "POST", "/v1/reload/"+words[0], nil)
		}
		var err error
		if opt.Name, opt.Text, err = in.configuration(words[0]); err != nil {
			return in.fail(exitUsage, err)
		}
	}
	done, err := api.NewClient(*socket).Reload(context.Background(), opt)
	if err != nil {
		return in.fail(exitFailed, err)
	}
	if opt.DryRun {
		printForeseen(in.stdout, done)
		return exitOK
	}
	for _, c := range done.Changes {
		fmt.Fprintln(in.stdout, c)
	}
	printStays(in.stdout, done)
	if c := done.Confirmation; c != nil {
		fmt.Fprintf(in.stdout, "it is rolled back in %s, at %s, unless `hvrouter reload confirm` comes\n", c.Left, c.Deadline.Local().Format(time.TimeOnly))
	}
	return exitOK
}

// foresee prints what a reload with a file would do. It exits 0 if that is nothing, 1 if it is
// something, and 2 if no -force would have it done.
func (in invocation) foresee(socket, path string, asJSON bool) int {
	opt := api.ReloadOptions{DryRun: true, Force: true}
	var err error
	if opt.Name, opt.Text, err = in.configuration(path); err != nil {
		return in.fail(exitUsage, err)
	}
	would, err := api.NewClient(socket).Reload(context.Background(), opt)
	if err != nil {
		return in.fail(exitUsage, err)
	}
	if asJSON {
		data, err := json.Marshal(would)
		if err == nil {
			err = indented(in.stdout, data)
		}
		if err != nil {
			return in.fail(exitFailed, err)
		}
	} else {
		printForeseen(in.stdout, would)
	}
	if len(would.Changes)+len(would.Kernel) == 0 {
		return exitOK
	}
	return exitFailed
}

// printForeseen prints it for people.
func printForeseen(w io.Writer, would api.Reload) {
	for _, c := range would.Changes {
		if c.Loses {
			fmt.Fprint(w, "refused without -force: ")
		}
		fmt.Fprintln(w, c)
	}
	printStays(w, would)
	for _, d := range would.Kernel {
		if d.NetNS != "" {
			fmt.Fprintf(w, "netns %s: ", d.NetNS)
		}
		fmt.Fprintf(w, "%s %s", d.Op, d.What)
		switch {
		case d.Want != "" && d.Have != "":
			fmt.Fprintf(w, ": %s, now %s", d.Want, d.Have)
		case d.Want+d.Have != "":
			fmt.Fprintf(w, ": %s", d.Want+d.Have)
		}
		fmt.Fprintln(w)
	}
	if would.More > 0 {
		fmt.Fprintf(w, "and %d more\n", would.More)
	}
}

// printStays prints what a reload leaves as `guest move` has said.
func printStays(w io.Writer, r api.Reload) {
	for _, text := range r.Stays {
		fmt.Fprintln(w, text)
	}
}

// configuration reads a file that the daemon may not see: it may have other directories of these
// names. "-" is the standard input.
func (in invocation) configuration(path string) (name string, text []byte, err error) {
	if path == "-" {
		text, err = io.ReadAll(io.LimitReader(in.stdin, config.MaxSize+1))
		path = "stdin"
	} else {
		text, err = files.ReadRegular(path, config.MaxSize)
		if os.IsNotExist(err) {
			err = fmt.Errorf("%s: there is no such file", path)
		}
	}
	return path, append([]byte{}, text...), err
}
