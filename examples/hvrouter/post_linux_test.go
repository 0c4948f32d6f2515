package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/examples/hvrouter/api"
	"github.com/hyperfib/hyperfib/internal/testing/nstest"
)

// TestPostMany sends 1,000 guests in one request, then single ones, to a daemon whose
// guests' interfaces are there. Of a request that is refused none of the guests is in, of
// one whose client gives up all or none (E10).
func TestPostMany(t *testing.T) {
	if testing.Short() {
		t.Skip("needs namespaces and seconds")
	}
	h := &host{t: t, dir: t.TempDir(), hv: nstest.New(t, "hv"), vm: nstest.New(t, "vm")}
	before, _, _ := strings.Cut(manyConfig, "    reflectors:")
	h.write("hv.yaml", before+"edge: {gateway4: 10.0.255.254, arp: responder, dhcp: {on: true}}\n")
	h.vm.Sysctl("net/ipv6/conf/default/disable_ipv6", "1")
	h.attach(0, manyGuests+laterOnes)
	t.Cleanup(h.end)
	h.run()
	h.wait("the daemon", func() bool { return h.ask("/v1/status", &api.Status{}) == nil })

	// A list with one guest that cannot be: none of them.
	bad := bytes.Replace(manyJSON(0, manyGuests), []byte("10.0.3.230"), []byte("10.0.0.1"), 1)
	if err := api.NewClient(h.path("api.sock")).Send(t.Context(), "POST", "/v1/guests", bad); err == nil || !strings.Contains(err.Error(), "guest g998: 10.0.0.1 belongs to guest g1 (api)") {
		t.Errorf("a guest takes another's address: %v", err)
	}
	if n := h.inventory(); n != 0 {
		t.Errorf("%d guests are in of a list that was refused", n)
	}

	begin := time.Now()
	h.post(manyJSON(0, manyGuests))
	answered := time.Since(begin)
	h.wait("every route", func() bool { return h.guestRoutes(0, manyGuests) == manyGuests })
	t.Logf("%d guests in one request: answered after %v, all routes in the kernel after %v", manyGuests, answered, time.Since(begin))

	var worst, sum time.Duration
	for i := manyGuests; i < manyGuests+laterOnes; i++ {
		begin := time.Now()
		h.post(manyJSON(i, i+1))
		took := time.Since(begin)
		if h.guestRoutes(i, i+1) != 1 {
			t.Errorf("guest %d: no route when the request is answered", i)
		}
		worst, sum = max(worst, took), sum+took
	}
	t.Logf("one more, %d times: %v on average, %v at most", laterOnes, sum/laterOnes, worst)

	known := h.inventory()
	for i, patience := 0, time.Millisecond; patience < 500*time.Millisecond; i, patience = i+1, 3*patience {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		err := api.NewClient(h.path("api.sock")).Send(ctx, "POST", "/v1/guests", manyJSON(2000+300*i, 2300+300*i))
		cancel()
		if n := h.inventory() - known; n%300 != 0 || err == nil && n == 0 {
			t.Errorf("%d guests are in of clients that sent 300 each and gave up, the last after %v: %v", n, patience, err)
		}
	}
}

// inventory counts the guests that the daemon knows.
func (h *host) inventory() int {
	h.t.Helper()
	var all []api.Guest
	if err := h.ask("/v1/guests", &all); err != nil {
		h.t.Fatal(err)
	}
	return len(all)
}

// post sends guests to the daemon.
func (h *host) post(body []byte) {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(h.t.Context(), nstest.Patience)
	defer cancel()
	if err := api.NewClient(h.path("api.sock")).Send(ctx, "POST", "/v1/guests", body); err != nil {
		h.t.Fatal(err)
	}
}

// manyJSON returns guests as the API takes them.
func manyJSON(from, to int) []byte {
	var b bytes.Buffer
	b.WriteByte('[')
	for i := from; i < to; i++ {
		if i > from {
			b.WriteByte(',')
		}
		one, _ := json.Marshal(map[string]any{"name": fmt.Sprintf("g%d", i), "mac": manyMAC(i).String(),
			"ipv4": []string{manyAddr(i).String()}, "ipv6": []string{fmt.Sprintf("2001:db8:%x::/64", i+1)}})
		b.Write(one)
	}
	b.WriteByte(']')
	return b.Bytes()
}
