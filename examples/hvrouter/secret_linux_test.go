package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hyperfib/hyperfib/examples/hvrouter/api"
	"github.com/hyperfib/hyperfib/internal/testing/nstest"
)

// TestSecrets: sessions come up with a TCP MD5 key from a file, from a credential and from the
// configuration, and no key is in what the daemon shows, says, logs, answers or writes.
func TestSecrets(t *testing.T) {
	if testing.Short() {
		t.Skip("needs namespaces and seconds")
	}
	const inFile, credential, inline, wrong = "k3y-of-a-file", "k3y-of-systemd", "k3y-of-the-yaml", "k3y-that-is-wrong"
	h := newHost(t)
	h.up()
	h.kill(os.Interrupt)
	password := func(config, session, key string) string {
		return strings.Replace(config, "protocol bgp "+session+" from hv { ", "protocol bgp "+session+" from hv { password \""+key+"\"; ", 1)
	}
	reflector := func(a, b string) {
		h.write("bird.conf", password(password(birdConfig, "a", a), "b", b))
		h.bird("configure")
	}
	reflector(inFile, credential)
	h.write("key", inFile+"\n")
	if err := os.Mkdir(h.path("credentials"), 0o700); err != nil {
		t.Fatal(err)
	}
	h.write("credentials/b", credential)
	h.env = append(h.env, "CREDENTIALS_DIRECTORY="+h.path("credentials"))
	text := strings.NewReplacer("126}", "126, md5-file: DIR/key}", "226}", "226, md5-file: b}").Replace(hvConfig) + "log: debug\n"
	h.write("hv.yaml", text)
	h.run()
	h.up()
	h.guest()
	var said strings.Builder
	say := func(args ...string) string {
		out, _ := h.command(append(args, "-api", h.path("api.sock"))...).CombinedOutput()
		said.Write(out)
		return string(out)
	}
	everything := func() {
		for _, what := range []string{"sessions", "bfd", "rib", "fib", "guests", "neighbours", "firewall", "drain", "status", "events"} {
			say("show", what)
			say("show", what, "-j")
		}
		say("explain", "203.0.113.3", "-j")
		say("metrics")
		out, _ := h.command("check", "-config", h.path("hv.yaml")).CombinedOutput()
		said.Write(out)
	}
	everything()

	// A key in the configuration itself, then a wrong one: what is changed is named, not the key.
	reflector(inline, credential)
	h.write("hv.yaml", strings.Replace(text, "md5-file: DIR/key", "md5: "+inline, 1))
	if out := say("diff", h.path("hv.yaml")); !strings.Contains(out, "MD5 key") {
		t.Errorf("diff: %s", out)
	}
	say("diff", "-j", h.path("hv.yaml"))
	say("reload", "-confirm", "5m", h.path("hv.yaml"))
	everything()
	say("reload", "confirm")
	h.up()
	h.write("credentials/b", wrong)
	if out := say("reload"); !strings.Contains(out, "198.51.100.226") {
		t.Errorf("another credential: %s", out)
	}
	nstest.Wait(t, nstest.Patience, "the session with the wrong key gone", func() bool { return h.upsOf()["198.51.100.226"] == -1 })
	everything()
	h.write("credentials/b", credential)
	say("reload")

	// Mistakes beside a key.
	for _, bad := range []string{"md5: [" + inline + "]", "md5: {" + inline + ": 1}", "md5: " + inline + ", md5-file: b", "md5: " + inline + strings.Repeat("x", 80), "md5: \"" + inline, "mdd5: x, md5: " + inline,
		"md5: 0" + strings.Repeat("7", 9), "md5: 12.25e77", "md5-file: nowhere", "md5-file: ../b", "md5-file: DIR/nowhere", "md5-file: DIR/open", "md5: " + inline + "}, {md5: " + inline} {
		h.write("open", inFile)
		if err := os.Chmod(h.path("open"), 0o644); err != nil {
			t.Fatal(err)
		}
		h.write("hv.yaml", strings.Replace(text, "md5-file: DIR/key", bad, 1))
		if out := say("reload"); !strings.Contains(out, "hv.yaml:") {
			t.Errorf("%s was not refused: %s", bad, out)
		}
		out, _ := h.command("check", "-config", h.path("hv.yaml")).CombinedOutput()
		said.Write(out)
	}

	// Everything that is written, but for the files that are to have them.
	err := filepath.WalkDir(h.dir, func(path string, d fs.DirEntry, err error) error {
		name := filepath.Base(path)
		if err != nil || !d.Type().IsRegular() || name == "hv.yaml" || name == "key" || name == "open" || name == "bird.conf" || name == "bird.log" || filepath.Base(filepath.Dir(path)) == "credentials" {
			return err
		}
		data, err := os.ReadFile(path)
		said.WriteString("\n" + path + ":\n")
		said.Write(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, url := range []string{"/v1/sessions", "/v1/status", "/v1/domains", "/v1/history", "/v1/guests"} {
		text, err := api.NewClient(h.path("api.sock")).Text(t.Context(), url)
		if err != nil {
			t.Error(err)
		}
		said.WriteString(text)
	}
	for _, key := range []string{inFile, credential, inline, wrong, "0777777777", "12.25e77"} {
		if before, after, ok := strings.Cut(said.String(), key); ok {
			t.Errorf("%s is in: ...%s%s%s", key, before[max(0, len(before)-300):], key, after[:min(len(after), 100)])
		}
	}
	if !strings.Contains(said.String(), "event=bgp-up") || said.Len() < 20_000 {
		t.Errorf("only %d octets were looked at", said.Len())
	}
}
