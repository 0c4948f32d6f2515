package cli

import (
	"fmt"
	"strings"
)

// shells are those that Completion knows.
var shells = []struct {
	name   string
	script func([]description) string
}{{"bash", bashCompletion}, {"zsh", zshCompletion}, {"fish", fishCompletion}}

// completion is `hvrouter completion`.
func completion(in invocation) int {
	words, ok := in.words(in.flags("completion"), 1, 1)
	if !ok {
		return exitUsage
	}
	script, err := Completion(words[0])
	if err != nil {
		return in.fail(exitUsage, err)
	}
	fmt.Fprint(in.stdout, script)
	return exitOK
}

// Completion returns the script by which a shell, bash, zsh or fish, completes commands,
// their first words, and flags.
func Completion(shell string) (string, error) {
	for _, s := range shells {
		if s.name == shell {
			return s.script(describe()), nil
		}
	}
	return "", fmt.Errorf("completion for %q: want bash, zsh or fish", shell)
}

// names lists the commands, help among them.
func names(all []description) (out []string) {
	for _, d := range all {
		out = append(out, d.name)
	}
	return append(out, "help")
}

// bashCompletion asks for nothing of the package bash-completion.
func bashCompletion(all []description) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# Completion of hvrouter for bash; made by `hvrouter completion bash`.\n_hvrouter() {\n")
	fmt.Fprintf(&b, "  local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]} words= flags= files=\n")
	fmt.Fprintf(&b, "  if [ \"$COMP_CWORD\" = 1 ]; then\n    COMPREPLY=($(compgen -W %s -- \"$current\"))\n    return\n  fi\n", quoted(strings.Join(names(all), " ")))
	fmt.Fprintf(&b, "  case ${COMP_WORDS[1]} in\n")
	for _, d := range all {
		var flags, values, files []string
		for _, o := range d.flags {
			flags = append(flags, "-"+o.name)
			switch {
			case o.files:
				files = append(files, "-"+o.name)
			case o.value != "":
				values = append(values, "-"+o.name)
			}
		}
		fmt.Fprintf(&b, "  %s)\n    words=%s flags=%s\n", d.name, quoted(strings.Join(d.words, " ")), quoted(strings.Join(flags, " ")))
		if len(files)+len(values) > 0 {
			fmt.Fprintf(&b, "    case $previous in\n")
			if len(files) > 0 {
				fmt.Fprintf(&b, "    %s) COMPREPLY=($(compgen -f -- \"$current\")); return ;;\n", strings.Join(files, " | "))
			}
			if len(values) > 0 {
				fmt.Fprintf(&b, "    %s) return ;;\n", strings.Join(values, " | "))
			}
			fmt.Fprintf(&b, "    esac\n")
		}
		fmt.Fprintf(&b, "    ;;\n")
	}
	fmt.Fprintf(&b, "  help) words=%s ;;\n  esac\n", quoted(strings.Join(names(all), " ")))
	fmt.Fprintf(&b, "  case $current in\n  -*) words=$flags ;;\n  *) [ \"$COMP_CWORD\" = 2 ] || files=1 ;;\n  esac\n")
	fmt.Fprintf(&b, "  if [ -n \"$files\" ] || [ -z \"$words\" ]; then\n    COMPREPLY=($(compgen -f -- \"$current\"))\n  else\n    COMPREPLY=($(compgen -W \"$words\" -- \"$current\"))\n  fi\n}\ncomplete -F _hvrouter hvrouter\n")
	return b.String()
}

func zshCompletion(all []description) string {
	var b strings.Builder
	fmt.Fprintf(&b, "#compdef hvrouter\n# Completion of hvrouter for zsh; made by `hvrouter completion zsh`.\n_hvrouter() {\n  local -a commands\n  commands=(\n")
	for _, d := range all {
		fmt.Fprintf(&b, "    %s\n", quoted(d.name+":"+strings.ReplaceAll(d.help, ":", `\:`)))
	}
	fmt.Fprintf(&b, "    'help:%s'\n  )\n", helpOfHelp)
	fmt.Fprintf(&b, "  if (( CURRENT == 2 )); then\n    _describe command commands\n    return\n  fi\n")
	fmt.Fprintf(&b, "  local command=$words[2]\n  shift words\n  (( CURRENT-- ))\n  case $command in\n")
	for _, d := range all {
		fmt.Fprintf(&b, "  %s)\n    _arguments", d.name)
		for _, o := range d.flags {
			spec := "-" + o.name + "[" + strings.NewReplacer("[", "(", "]", ")", ":", `\:`).Replace(o.help) + "]"
			switch {
			case o.files:
				spec += ":" + o.value + ":_files"
			case o.value != "":
				spec += ":" + o.value + ":"
			}
			fmt.Fprintf(&b, " \\\n      %s", quoted(spec))
		}
		if len(d.words) > 0 {
			fmt.Fprintf(&b, " \\\n      %s", quoted("1:word:("+strings.Join(d.words, " ")+")"))
		}
		fmt.Fprintf(&b, " \\\n      '*:file:_files'\n    ;;\n")
	}
	fmt.Fprintf(&b, "  help) _arguments %s ;;\n  esac\n}\n", quoted("1:command:("+strings.Join(names(all), " ")+")"))
	fmt.Fprintf(&b, "if [ \"$funcstack[1]\" = _hvrouter ]; then _hvrouter \"$@\"; else compdef _hvrouter hvrouter; fi\n")
	return b.String()
}

func fishCompletion(all []description) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# Completion of hvrouter for fish; made by `hvrouter completion fish`.\n")
	for _, d := range all {
		fmt.Fprintf(&b, "complete -c hvrouter -f -n __fish_use_subcommand -a %s -d %s\n", d.name, fished(d.help))
	}
	fmt.Fprintf(&b, "complete -c hvrouter -f -n __fish_use_subcommand -a help -d '%s'\n", helpOfHelp)
	for _, d := range all {
		when := "'__fish_seen_subcommand_from " + d.name + "'"
		if len(d.words) > 0 {
			fmt.Fprintf(&b, "complete -c hvrouter -f -n '__fish_seen_subcommand_from %s; and test (count (commandline -opc)) -eq 2' -a %s\n", d.name, fished(strings.Join(d.words, " ")))
		}
		for _, o := range d.flags {
			fmt.Fprintf(&b, "complete -c hvrouter -n %s -o %s", when, o.name)
			switch {
			case o.files:
				fmt.Fprintf(&b, " -r -F")
			case o.value != "":
				fmt.Fprintf(&b, " -x")
			}
			fmt.Fprintf(&b, " -d %s\n", fished(o.help))
		}
	}
	fmt.Fprintf(&b, "complete -c hvrouter -f -n '__fish_seen_subcommand_from help' -a %s\n", fished(strings.Join(names(all), " ")))
	return b.String()
}

// quoted is a word for bash and zsh.
func quoted(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// fished is a word for fish, where a backslash escapes in single quotes.
func fished(s string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, "'", `\'`).Replace(s) + "'"
}
