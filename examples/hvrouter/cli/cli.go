// Package cli is the command line of hvrouter: [Main] with one file a command.
package cli

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
)

// Exit codes.
const (
	exitOK     = 0
	exitFailed = 1 // it was tried and did not work, or check found drift
	exitUsage  = 2 // wrong flags or a wrong configuration: nothing was touched
	exitBroken = 2 // check: it will not work; explain: not all of the kernel could be read, and nothing differs
	exitUnseen = 3 // check: something could not be seen, and nothing worse was
	exitBrief  = 4 // drain, undrain, session, guest move: done, but not written down: a restart of the daemon undoes it
)

// defaultConfig is where the unit file expects the configuration.
const defaultConfig = "/etc/hvrouter/hvrouter.yaml"

// defaultAPI is the daemon's socket unless the configuration says otherwise.
const defaultAPI = "/run/hvrouter/api.sock"

// command is one word of the command line.
type command struct {
	name, usage, help string
	run               func(in invocation) int
}

// invocation is one call of a command.
type invocation struct {
	args           []string // behind the command's name
	before         []string // what stands before them on the process's command line
	stdin          io.Reader
	stdout, stderr io.Writer
	// inspect, if it is not nil, is called with the flags in place of reading the arguments,
	// and the command does nothing.
	inspect func(*flag.FlagSet)
}

func commands() []command {
	return []command{
		{"run", "-config FILE", "run the daemon until SIGTERM; routes stay when it ends", run},
		{"check", "-config FILE", "check configuration and host; exit 0 fine, 1 what differs will be mended, 2 it will not work, 3 something could not be seen", check},
		{"convert", "-bird FILE [-bird6 FILE] [-radvd FILE] [-ndppd FILE] [-dnsmasq FILE] [-ip FILE]", "make a configuration of those of BIRD (1.6 and 2), radvd, ndppd and dnsmasq, and of what scripts have made; each flag as often as there are files; what has no counterpart, or is not said there, is at the head of the output and on standard error; exit 0 nothing is left out, 1 something is, 2 a file cannot be read, or not as what it is said to be", convertFiles},
		{"show", "sessions|bfd|rib|fib|guests|neighbours|evpn|firewall|drain|health|status|events|routes [for ADDRESS] advertised|received PEER [-peer ADDRESS] [-domain NAME] [-interface NAME] [-guest NAME] [-overlay NAME] [-mac MAC] [-vtep ADDRESS] [-table TABLE] [-prefix PREFIX] [-since TIME] [-event PATTERN] [-last N] [-j] [-w] [-api PATH]", "show what the daemon knows; health exits 0 healthy, 1 degraded, 2 broken, 3 not known; -j for programs, -w whenever it changes", show},
		{"session", "reset|disable|enable PEER [-text TEXT] [-hard] [-api PATH]", "end a session, with or without its return; one that is disabled stays so over restarts until it is enabled; disable and enable exit 4 if that is done, but a disk that takes nothing has a restart of the daemon undo it", session},
		{"explain", "ADDRESS [from GUEST|INTERFACE|vni VNI]|MAC [vni VNI] [-source ADDRESS] [-j] [-api PATH] [-config FILE]", "ask the kernel where packets go, or frames for a MAC or a guest's address in overlays, say first where that differs from what is wanted, then why; exit 0 as wanted, 1 it differs, 2 nothing differs, and not all of it could be read", explain},
		{"diff", "[FILE] [-j] [-api PATH]", "say in what the kernel differs from what is desired; with FILE, what a reload with it would do: sessions reset and changed in place, every key that differs, guests and what they are told, rules, routes, firewall; exit 0 nothing, 1 something, 2 it could not be found out, or would be refused whatever is forced", diff},
		{"guest", "add [FILE]|update [FILE]|del NAME|move NAME [-local-pref N] [-down|-up]|list [-api PATH]", "attach, change, detach, move and list guests; move exits 4 if it is done, but a disk that takes nothing has a restart of the daemon undo it", guests},
		{"top", "[-d TIME] [-api PATH]", "show sessions, BFD, kernel writes, guests and the last events on a terminal, anew each second; keys: q quits, s sorts, p pauses", top},
		{"web", "[-listen ADDRESS:PORT|unix:PATH] [-api PATH]", "serve a page for browsers, on this host alone, that shows sessions as a picture, BFD, guests and events as they happen, and changes nothing; whoever has an account on the host can read it", servePage},
		{"watch", "[-event PATTERN] [-recent N] [-n N] [-j] [-api PATH]", "print what happens as it happens; -j for programs", watch},
		{"reload", "[-confirm TIME] [-dry-run] [-force] [FILE]|confirm|cancel [-api PATH]", "read the configuration again, or take FILE; what did not change is left alone, and what would lose sessions is refused; with -confirm it is rolled back after TIME unless `reload confirm` comes", reload},
		{"drain", "[-all] [-until-stop] [-wait TIME] [-j] [-api PATH]", "have traffic go elsewhere that can, until undrain, over restarts and reboots; -all: what is nowhere else goes, too; -until-stop: only until the daemon ends; exit 0 done, 1 not, or not all of it within -wait, 2 nothing was touched, 4 done, but a disk that takes nothing has a restart of the daemon end it", drain},
		{"undrain", "[-j] [-api PATH]", "end it; exit 4 if that could not be written down: a restart of the daemon may drain the host again", undrain},
		{"capture", "PEER -o FILE [-n N] [-size MIB] [-for TIME] [-port PORT] [-api PATH]", "write the packets of a peer's BGP and BFD sessions into a file for Wireshark, on the interfaces that they are on, until a limit or Ctrl-C; the file is readable at any time", captureTo},
		{"metrics", "[-api PATH]", "print counters", metrics},
		{"bfd", "-socket PATH", "the process of the BFD sessions; run starts it", bfdProcess},
		{"version", "", "print the version", version},
		{"completion", "bash|zsh|fish", "print what a shell needs to complete commands and flags", completion},
	}
}

// Main runs the command in args (without the program's name) and returns the
// exit code: 0 fine, 1 failed, 2 wrong usage or configuration. args must be the end
// of os.Args: what stands before is used to start the BFD process.
func Main(args []string) int {
	before := os.Args[:max(0, len(os.Args)-len(args))]
	return main(args, invocation{before: slices.Clone(before), stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr})
}

func main(args []string, in invocation) int {
	out := &output{to: in.stdout}
	in.stdout = out
	name := ""
	if len(args) > 0 {
		name = args[0]
	}
	return in.written(out, name, dispatch(args, in))
}

// dispatch calls the command.
func dispatch(args []string, in invocation) int {
	if len(args) == 0 {
		usage(in.stderr)
		return exitUsage
	}
	if slices.Contains([]string{"help", "-h", "-help", "--help"}, args[0]) {
		return help(in, args[1:])
	}
	for _, c := range commands() {
		if c.name == args[0] {
			in.args = args[1:]
			return c.run(in)
		}
	}
	fmt.Fprintf(in.stderr, "hvrouter: unknown command %q; `hvrouter help` lists them\n", args[0])
	return exitUsage
}

// fail prints an error and gives the exit code. That standard output takes nothing is left to [main].
func (in invocation) fail(code int, err error) int {
	if o, ok := in.stdout.(*output); ok && o.err != nil && errors.Is(err, o.err) {
		return code
	}
	fmt.Fprintln(in.stderr, "hvrouter:", err)
	return code
}
