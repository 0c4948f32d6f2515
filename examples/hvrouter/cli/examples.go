package cli

// example is a line as an operator types it, and what it is for.
type example struct{ line, what string }

// examples are what help and the manual pages show of each command. A test reads each line as the command does.
var examples = map[string][]example{
	"run": {{"hvrouter run -config hv1.yaml", "the daemon in this terminal, to try a configuration; systemd starts it otherwise"}},
	"check": {
		{"hvrouter check", "is the host as /etc/hvrouter/hvrouter.yaml needs it"},
		{"hvrouter check -syntax -config new.yaml", "is the file right; anywhere, as any user"},
	},
	"convert": {{"hvrouter convert -bird /etc/bird/bird.conf -radvd /etc/radvd.conf >hvrouter.yaml", "what has no counterpart is at the head of the file"}},
	"show": {
		{"hvrouter show health", "what is wrong, the worst first"},
		{"hvrouter show sessions -w", "the sessions, again whenever one has changed"},
		{"hvrouter show rib -prefix 203.0.113.3", "the paths to an address, and how they stand in the kernel"},
		{"hvrouter show routes received 198.51.100.126", "what a peer has sent"},
		{"hvrouter show events -since 2h -peer 198.51.100.126", "what happened, from disk, also while no daemon runs"},
		{"hvrouter show guests -j | jq -r '.[] | select(.present | not).name'", "the guests that have no interface here"},
	},
	"session": {
		{"hvrouter session reset 198.51.100.126", "it comes back at once; both sides keep their routes"},
		{"hvrouter session disable 198.51.100.126 -text 'line card replaced'", "until it is enabled, and the peer's log has the text"},
	},
	"explain": {
		{"hvrouter explain 203.0.113.3", "where packets of this hypervisor and of its guests go, and why"},
		{"hvrouter explain 203.0.113.3 from vm1", "where those of one guest go"},
		{"hvrouter explain fe80::1%eth1", "where those to a link-local address on a link go"},
		{"hvrouter explain 192.168.5.2 vni 100", "which MAC a guest's address in an overlay has, and where it is"},
		{"hvrouter explain 02:00:00:00:00:02 vni 100", "where frames for a MAC go in an overlay, and which routes of EVPN say so"},
	},
	"diff": {
		{"hvrouter diff", "what the kernel has that the daemon does not want, or lacks"},
		{"hvrouter diff new.yaml", "what a reload with this file would do"},
	},
	"guest": {
		{"echo '{name: vm9, interface: vm9, ipv4: [203.0.113.9]}' | hvrouter guest add", "serve a guest, over restarts"},
		{"hvrouter guest move vm1 -down", "on the hypervisor that vm1 leaves; `-up` on the one that it comes to"},
		{"hvrouter guest list", "all of them: of the file, of directories and by command"},
	},
	"top": {{"hvrouter top -d 5s", "over a slow line"}},
	"web": {
		{"hvrouter web", "then http://127.0.0.1:8179/ here, or from elsewhere by `ssh -L 8179:127.0.0.1:8179 HOST`"},
		{"hvrouter web -listen unix:/run/hvrouter/page.sock", "for root alone: `ssh -L 8179:/run/hvrouter/page.sock root@HOST`"},
	},
	"watch": {
		{"hvrouter watch -recent 20", "the last 20 events, and what comes"},
		{"hvrouter watch -event 'bfd-*' -j", "one JSON object a line, of BFD alone"},
	},
	"reload": {
		{"hvrouter reload -dry-run new.yaml", "what would be done"},
		{"hvrouter reload -confirm 5m new.yaml", "do it, and undo it unless the next line comes in time"},
		{"hvrouter reload confirm", "keep it: /etc/hvrouter/hvrouter.yaml is new.yaml then"},
	},
	"drain":   {{"hvrouter drain -wait 10m && systemctl stop hvrouter hvrouter-bfd", "stop once no traffic comes any more"}},
	"undrain": {{"hvrouter undrain", "attract traffic again"}},
	"capture": {
		{"hvrouter capture 198.51.100.126 -o /tmp/peer.pcapng -for 1m", "for tshark -r or Wireshark"},
		{"hvrouter capture 198.51.100.126 -o - | tshark -r -", "as it comes"},
	},
	"metrics":    {{"hvrouter metrics | grep firewall_dropped", "what the firewall dropped, by kind"}},
	"bfd":        {{"hvrouter bfd -socket /run/hvrouter/api.sock.bfd -takeover", "replace the process that runs, as `systemctl reload hvrouter-bfd` does"}},
	"version":    {{"hvrouter version", "of this program; `show status` has the daemon's"}},
	"completion": {{"source <(hvrouter completion bash)", "for this shell; the package installs it for all"}},
}
