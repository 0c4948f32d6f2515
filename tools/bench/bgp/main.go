// Command bgp measures route reflectors: ours and those that people run. It plays
// feeders and sinks that are faster than any of them, in a network namespace of
// their own, and prints wall time, CPU time and memory of each, with the ratio to
// BIRD and the verdict on the project's own limits. It needs root; a reflector that
// is not installed is left out. Start it as `.ci/bench bgp`.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime/pprof"
	"slices"
	"strings"
	"syscall"

	"github.com/hyperfib/hyperfib/examples/routereflector/app"
)

func main() {
	if len(os.Args) > 1 && os.Args[1] == "reflector" {
		os.Exit(reflector(os.Args[2:]))
	}
	os.Exit(run())
}

// reflector is our own route reflector, with a CPU profile if one is wanted.
func reflector(args []string) int {
	if name := os.Getenv("BENCH_PROFILE"); name != "" {
		f, err := os.Create(name)
		if err == nil {
			if err := pprof.StartCPUProfile(f); err == nil {
				defer pprof.StopCPUProfile()
			}
		}
	}
	return app.Main(args)
}

func run() int {
	peers := flag.String("peers", "hyperfib,bird,frr,openbgpd,gobgp3,gobgp4", "reflectors to measure")
	only := flag.String("rows", "", "rows to measure (default: all but those of scale.go): "+strings.Join(rowNames(), ","))
	repeat := flag.Int("n", 1, "runs of each row; the best counts, taken in turn")
	out := flag.String("json", "", "write all results to this file")
	profile := flag.String("profile", "", "write CPU profiles of our reflector to this directory")
	inside := flag.String("inside", "", "internal: name of the reflectors' namespace")
	flag.Parse()
	if *inside == "" {
		return outside()
	}
	b := &bench{ns: *inside, profile: *profile, results: map[string]map[string]result{}}
	b.measure(strings.Split(*peers, ","), *only, *repeat)
	failed := b.report(os.Stdout)
	if *out != "" {
		text, err := json.MarshalIndent(b.results, "", "  ")
		if err == nil {
			err = os.WriteFile(*out, text, 0o644)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	if failed {
		return 1
	}
	return 0
}

// outside makes two namespaces joined by a veth pair, and runs this program again in
// that of the feeders.
func outside() int {
	if os.Geteuid() != 0 {
		fmt.Fprintln(os.Stderr, "needs root, for network namespaces")
		return 2
	}
	dut, driver := fmt.Sprintf("hfb-%d-d", os.Getpid()), fmt.Sprintf("hfb-%d-f", os.Getpid())
	defer func() {
		for _, ns := range []string{dut, driver} {
			_ = exec.Command("ip", "netns", "del", ns).Run()
		}
	}()
	for _, line := range []string{
		"netns add " + dut, "netns add " + driver,
		"-n " + dut + " link set lo up", "-n " + driver + " link set lo up",
		"-n " + dut + " link add e0 type veth peer name e0 netns " + driver,
		"-n " + dut + " addr add 10.77.0.1/16 dev e0", "-n " + driver + " addr add 10.77.0.2/16 dev e0",
		"-n " + dut + " addr add 2001:db8:77::1/64 dev e0 nodad",
		"-n " + dut + " link set e0 up", "-n " + driver + " link set e0 up",
		// An address for each client. The reflector has one neighbour, whatever their number.
		"-n " + driver + " route add local 10.77.16.0/20 dev e0", "-n " + driver + " route add local 10.77.32.0/20 dev e0",
		"-n " + dut + " route add 10.77.16.0/20 via 10.77.0.2", "-n " + dut + " route add 10.77.32.0/20 via 10.77.0.2",
	} {
		if out, err := exec.Command("ip", strings.Fields(line)...).CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "ip %s: %v\n%s", line, err, out)
			return 1
		}
	}
	self, err := os.Executable()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	args := slices.Concat([]string{"netns", "exec", driver, self, "-inside", dut}, os.Args[1:])
	cmd := exec.Command("ip", args...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := cmd.Start(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	context.AfterFunc(ctx, func() { _ = cmd.Process.Signal(syscall.SIGTERM) }) // the reflector dies with it
	if err := cmd.Wait(); err != nil {
		return 1
	}
	return 0
}
