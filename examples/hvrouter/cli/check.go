package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/examples/hvrouter/confirm"
	"github.com/hyperfib/hyperfib/examples/hvrouter/files"
	"github.com/hyperfib/hyperfib/examples/hvrouter/guest"
	"github.com/hyperfib/hyperfib/examples/hvrouter/host"
)

// check reads the configuration, then compares the host with what it needs.
func check(in invocation) int {
	flags := in.flags("check")
	file := flags.String("config", defaultConfig, "configuration `FILE`")
	only := flags.Bool("syntax", false, "check the file only, not the host")
	if _, ok := in.words(flags, 0, 0); !ok {
		return exitUsage
	}
	c, err := toCheck(*file)
	var mistakes config.Errors
	if errors.Is(err, fs.ErrPermission) || errors.As(err, &mistakes) && mistakes.Forbidden() {
		return in.fail(exitUnseen, err)
	}
	if err != nil {
		return in.fail(exitUsage, err)
	}
	if r, ok, err := (confirm.Files{Config: *file}).Read(); err != nil {
		fmt.Fprintf(in.stdout, "warning: the record of a reload cannot be understood, and counts for nothing: %v\n", err)
	} else if ok && !r.Confirmed {
		fmt.Fprintf(in.stdout, "note: a reload waits for its confirmation: a start finds the configuration before it, which is checked here\n")
	}
	if *only {
		fmt.Fprintf(in.stdout, "%s: fine\n", *file)
		return exitOK
	}
	all, findings := inventory(c)
	if err := host.Rights(c); err != nil && os.Geteuid() == 0 {
		findings = append(findings, host.Finding{Level: host.Lack, Text: err.Error()})
	} else if err != nil {
		findings = append(findings, host.Finding{Level: host.Unseen, Text: "as an ordinary user check sees neither the firewall, nor whose sockets ports belong to, nor what the daemon will be permitted: run it as root"})
	}
	findings = append(findings, host.Check(all, host.System)...)
	findings = append(findings, host.Others(os.DirFS("/"))...)
	findings = append(findings, host.Foreign(all, host.System)...)
	findings = append(findings, modes(*file, all)...)
	for _, f := range findings {
		fmt.Fprintf(in.stdout, "%s%v\n", c.Where(f.Path), f)
	}
	switch host.Worst(findings) {
	case host.Lack:
		return exitBroken
	case host.Unseen:
		return exitUnseen
	case host.Drift:
		return exitFailed
	}
	fmt.Fprintf(in.stdout, "%s: fine, and so is the host\n", *file)
	return exitOK
}

// toCheck returns the configuration that a start finds, or that comes through a pipe, which no start takes.
func toCheck(file string) (*config.Config, error) {
	info, err := os.Stat(file)
	if err != nil || info.Mode()&fs.ModeNamedPipe == 0 {
		return confirm.Files{Config: file}.Load()
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, config.MaxSize+1))
	if err != nil {
		return nil, err
	}
	return config.Parse(file, text, config.HostTables())
}

// fileTime is how long a file system may take to answer.
const fileTime = 10 * time.Second

// modes looks at who may write, and read, the files.
func modes(file string, c *config.Config) []host.Finding {
	found := make(chan []host.Finding, 1)
	go func() { found <- host.Files(file, c) }()
	select {
	case f := <-found:
		return f
	case <-time.After(fileTime):
		return []host.Finding{{Level: host.Warn, Text: "who may write the files is not known: a file system does not answer"}}
	}
}

// inventory returns the configuration with every guest that the daemon would know, and what
// it would refuse.
func inventory(c *config.Config) (*config.Config, []host.Finding) {
	ctx, cancel := context.WithTimeout(context.Background(), fileTime)
	defer cancel()
	var in guest.Inventory
	var directory guest.Directory
	r := &files.Reader{}
	facts, err := host.Facts(c)
	errs := []error{err}
	in.Use(c.Admission(facts))
	errs = append(errs, in.Replace(guest.FromConfig, c.Entries())...)
	list, more, _ := directory.Read(ctx, r, c.Inventory.Directory)
	errs = append(append(errs, more...), in.Replace(guest.FromDirectory, list)...)
	kept, err := (&guest.Store{Path: c.Inventory.State}).Load(ctx, r)
	errs = append(append(errs, err), in.Replace(guest.FromAPI, kept)...)
	all := *c
	all.Guests = in.All()
	var findings []host.Finding
	for _, err := range errs {
		switch {
		case errors.Is(err, fs.ErrPermission):
			findings = append(findings, host.Finding{Level: host.Unseen, Text: err.Error()})
		case err != nil:
			findings = append(findings, host.Finding{Level: host.Lack, Text: err.Error()})
		}
	}
	return &all, findings
}
