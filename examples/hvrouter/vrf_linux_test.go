package main

import (
	"os"
	"strings"
	"testing"

	"github.com/hyperfib/hyperfib/examples/hvrouter/vrf"
	"github.com/hyperfib/hyperfib/internal/testing/nstest"
)

// TestNoVRF has a daemon that wants VRFs on a kernel without them: it and `check` say
// what is missing, and nothing is changed.
func TestNoVRF(t *testing.T) {
	if testing.Short() {
		t.Skip("needs namespaces")
	}
	if vrf.Supported() == nil {
		t.Skip("this kernel has VRF: see .ci/vrf")
	}
	h := &host{t: t, dir: t.TempDir(), hv: nstest.New(t, "hv")}
	h.write("hv.yaml", strings.NewReplacer("domains:", "isolation: vrf\ndomains:", "ARP", "kernel").Replace(edgeConfig))
	rules := h.routes("rule show")
	h.run()
	if err := h.cmd.Wait(); err == nil {
		t.Error("the daemon ends as if all were well")
	}
	log, err := os.ReadFile(h.path("hv.log"))
	if err != nil || !strings.Contains(string(log), vrf.ErrUnsupported.Error()) {
		t.Errorf("the daemon says %s, %v", log, err)
	}
	out, err := h.command("check", "-config", h.path("hv.yaml")).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "missing: "+vrf.ErrUnsupported.Error()) {
		t.Errorf("check says %s, %v", out, err)
	}
	if now := h.routes("rule show"); now != rules {
		t.Errorf("rules were %s, are %s", rules, now)
	}
}
