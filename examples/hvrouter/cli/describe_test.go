package cli

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/hyperfib/hyperfib/internal/testing/nstest"
)

// TestDescribe: every command has flags as it parses them, and what can be typed first.
func TestDescribe(t *testing.T) {
	for usage, want := range map[string]string{
		"add [FILE]|update [FILE]|del NAME|move NAME [-local-pref N] [-down|-up]|list [-api PATH]": "add update del move list",
		"sessions|bfd [-j] [-api PATH]": "sessions bfd", "reset|disable|enable PEER": "reset disable enable", "PREFIX [-api PATH]": "",
		"-config FILE": "", "[confirm] [-api PATH]": "confirm", "[COMMAND]": "", "[-j] [-api PATH]": "",
	} {
		if got := strings.Join(firstWords(usage), " "); got != want {
			t.Errorf("%s: first words %q, want %q", usage, got, want)
		}
	}
	all := describe()
	if len(all) != len(commands()) {
		t.Fatalf("%d descriptions of %d commands", len(all), len(commands()))
	}
	for _, d := range all {
		if d.help == "" || !slices.Contains([]string{"completion", "version"}, d.name) && len(d.flags) == 0 {
			t.Errorf("%s: help %q, flags %v", d.name, d.help, d.flags)
		}
		for _, o := range d.flags {
			if o.help == "" {
				t.Errorf("%s: -%s has no help", d.name, o.name)
			}
		}
		for _, flag := range regexp.MustCompile(`(?:^|[\[ |])-([a-z][a-z-]*)`).FindAllStringSubmatch(d.usage, -1) {
			if !slices.ContainsFunc(d.flags, func(o option) bool { return o.name == flag[1] }) {
				t.Errorf("%s: usage names -%s, which is no flag of it", d.name, flag[1])
			}
		}
	}
}

// TestExamples: every command has one, help and the manual page show it, and its flags and first word are the command's.
func TestExamples(t *testing.T) {
	all := describe()
	pages := Manual("0.1.0", "2026-01-02")
	for i, d := range all {
		var help strings.Builder
		printHelp(&help, d)
		if len(examples[d.name]) == 0 {
			t.Errorf("%s has no example", d.name)
		}
		for _, e := range examples[d.name] {
			if !strings.Contains(help.String(), "  "+e.line+"\n        "+e.what+"\n") || !strings.Contains(pages[i+1].Text, "\n.B "+roff(e.line)+"\n") {
				t.Errorf("%s is not shown: %s", e.line, &help)
			}
			_, line, found := strings.Cut(e.line, "hvrouter "+d.name)
			if !found {
				t.Errorf("%s is no example of %s", e.line, d.name)
			}
			line, _, _ = strings.Cut(line, " | ") // of another program
			line, _, _ = strings.Cut(line, " && ")
			for j, word := range strings.Fields(line) {
				if name, is := strings.CutPrefix(word, "-"); is && name != "" && !slices.ContainsFunc(d.flags, func(o option) bool { return o.name == name }) {
					t.Errorf("%s: %s is no flag of it", e.line, word)
				} else if word = strings.TrimRight(word, ")"); j == 0 && isWord(word) && !slices.Contains(d.words, word) {
					t.Errorf("%s: %q is not among %v", e.line, word, d.words)
				}
			}
		}
	}
	if len(examples) != len(all) {
		t.Errorf("examples of %d commands, of which there are %d", len(examples), len(all))
	}
}

func TestHelp(t *testing.T) {
	var out, errs strings.Builder
	in := invocation{stdin: strings.NewReader(""), stdout: &out, stderr: &errs}
	if code := main([]string{"help", "reload"}, in); code != exitOK || !strings.Contains(out.String(), "  -dry-run\n        only say what would be done\n") {
		t.Errorf("exit %d: %s%s", code, &out, &errs)
	}
	out.Reset()
	if code := main([]string{"help", "help"}, in); code != exitOK || out.String() != "hvrouter help [COMMAND]\nprint the commands, or the flags and examples of one\n" {
		t.Errorf("exit %d: %s%s", code, &out, &errs)
	}
	if code := main([]string{"help", "nothing"}, in); code != exitUsage || !strings.Contains(errs.String(), `unknown command "nothing"`) {
		t.Errorf("exit %d: %s", code, &errs)
	}
	if code := main([]string{"completion", "csh"}, in); code != exitUsage || !strings.Contains(errs.String(), `"csh": want bash, zsh or fish`) {
		t.Errorf("exit %d: %s", code, &errs)
	}
}

// TestManual: every page is understood by the program behind man(1), without a warning, and
// says what help says.
func TestManual(t *testing.T) {
	if testing.Short() {
		t.Skip("needs groff")
	}
	groff := nstest.Need(t, "groff")
	pages := Manual("0.1.0", "2026-01-02")
	if len(pages) != len(commands())+1 {
		t.Fatalf("%d pages of %d commands", len(pages), len(commands()))
	}
	for _, p := range pages {
		cmd := exec.Command(groff, "-man", "-Tutf8", "-ww", "-P-cbou")
		cmd.Stdin = strings.NewReader(p.Text)
		var errs strings.Builder
		cmd.Stderr = &errs
		text, err := cmd.Output()
		if err != nil || errs.Len() > 0 {
			t.Errorf("%s: %v: %s", p.Name, err, errs.String())
		}
		if p.Name == "hvrouter-reload.8" && !regexp.MustCompile(`(?s)SYNOPSIS.*hvrouter reload \[.*-dry-run\s+only say what would be done\.`).Match(text) {
			t.Errorf("%s:\n%s", p.Name, text)
		}
	}
}

// TestCompletion asks each shell itself what it would offer.
func TestCompletion(t *testing.T) {
	for _, shell := range []struct {
		name string
		args func(script, line string) []string
	}{
		{"bash", func(script, line string) []string {
			return []string{"--norc", "-c", `source "$1"; read -ra COMP_WORDS <<<"$2."; n=$((${#COMP_WORDS[@]} - 1)); COMP_WORDS[n]=${COMP_WORDS[n]%.}; COMP_CWORD=$n; _hvrouter; printf '%s\n' "${COMPREPLY[@]}"`, "-", script, line}
		}},
		{"zsh", nil},
		{"fish", func(script, line string) []string {
			return []string{"--no-config", "-c", "source " + script + "; complete -C '" + line + "'"}
		}},
	} {
		t.Run(shell.name, func(t *testing.T) {
			if testing.Short() {
				t.Skip("needs the shells")
			}
			path := nstest.Need(t, shell.name)
			text, err := Completion(shell.name)
			if err != nil {
				t.Fatal(err)
			}
			script := filepath.Join(t.TempDir(), "_hvrouter")
			if err := os.WriteFile(script, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			if shell.args == nil { // zsh completes on a terminal only: the script is read and registered
				if out, err := exec.Command(path, "-f", "-c", `autoload -U compinit; compinit -u -D; source "$1"; (( $+functions[_hvrouter] )) && print $_comps[hvrouter]`, "-", script).CombinedOutput(); err != nil || string(out) != "_hvrouter\n" {
					t.Errorf("%v: %s", err, out)
				}
				return
			}
			for line, want := range map[string]string{"hvrouter rel": "reload", "hvrouter guest u": "update", "hvrouter reload -f": "-force", "hvrouter show gu": "guests", "hvrouter help wat": "watch"} {
				cmd := exec.Command(path, shell.args(script, line)...)
				cmd.Env = append(os.Environ(), "HOME="+t.TempDir())
				out, err := cmd.CombinedOutput()
				first, _, _ := strings.Cut(strings.Split(string(out), "\n")[0], "\t")
				if err != nil || first != want {
					t.Errorf("%s<TAB>: %q, want %q: %v", line, out, want, err)
				}
			}
		})
	}
}
