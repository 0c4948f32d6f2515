package cli

import (
	"fmt"

	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/examples/hvrouter/guest"
	"github.com/hyperfib/hyperfib/examples/hvrouter/host"
)

// check reads the configuration, then compares the host with what it needs.
func check(in invocation) int {
	fs := in.flags("check")
	file := fs.String("config", defaultConfig, "configuration `FILE`")
	only := fs.Bool("syntax", false, "check the file only, not the host")
	if _, ok := in.words(fs, 0, 0); !ok {
		return exitUsage
	}
	c, err := config.Load(*file)
	if err != nil {
		return in.fail(exitUsage, err)
	}
	if *only {
		fmt.Fprintf(in.stdout, "%s: fine\n", *file)
		return exitOK
	}
	all, findings := inventory(c)
	if err := host.Rights(c); err != nil {
		findings = append(findings, host.Finding{Level: host.Lack, Text: err.Error()})
	}
	findings = append(findings, host.Check(all, host.System)...)
	for _, f := range findings {
		fmt.Fprintln(in.stdout, f)
	}
	if host.Bad(findings) {
		return exitFailed
	}
	fmt.Fprintf(in.stdout, "%s: fine, and so is the host\n", *file)
	return exitOK
}

// inventory gives the configuration with every guest that the daemon would know, and what
// it would refuse.
func inventory(c *config.Config) (*config.Config, []host.Finding) {
	var in guest.Inventory
	errs := in.Replace(guest.FromConfig, c.Guests)
	files, more := guest.ReadDirectory(c.Inventory.Directory)
	errs = append(append(errs, more...), in.Replace(guest.FromDirectory, files)...)
	kept, err := guest.Store{Path: c.Inventory.State}.Load()
	if err != nil {
		errs = append(errs, err)
	}
	errs = append(errs, in.Replace(guest.FromAPI, kept)...)
	all := *c
	all.Guests = in.All()
	var findings []host.Finding
	for _, err := range errs {
		findings = append(findings, host.Finding{Level: host.Lack, Text: "guest refused: " + err.Error()})
	}
	return &all, findings
}
