// SPDX-License-Identifier: Apache-2.0

package rooms

// What a package may import beside the standard library and this module.
const (
	// kernel is what loads programs and configures interfaces.
	kernel = "kernel"
	// system is plain system calls.
	system = "system"
	// pdata is the Collector's model of telemetry.
	pdata = "pdata"
	// collector is the rest of the Collector.
	collector = "collector"
)

// outside tells the modules of other projects apart. Those that are not listed are
// libraries that every package may use.
var outside = map[string]string{
	"github.com/cilium/ebpf":              kernel,
	"github.com/vishvananda/netlink":      kernel,
	"golang.org/x/sys":                    system,
	"go.opentelemetry.io/collector/pdata": pdata,
	"go.opentelemetry.io/proto":           pdata,
	"go.opentelemetry.io/collector":       collector,
	"go.opentelemetry.io/otel":            collector,
	"github.com/open-telemetry":           collector,
}

// rule says what a room may import directly: rooms of this module, and kinds of modules
// from outside.
type rule struct {
	// rooms are packages, or with a final "/..." a package with all below it.
	rooms []string
	// imports are rooms, likewise, and kinds.
	imports []string
	// planned rooms need not exist yet.
	planned bool
}

// Floors, from the bottom up.
var (
	transport = []string{
		"internal/clean", "internal/flow", "internal/connection", "internal/owner", "internal/packet", "internal/source", "internal/timens",
	}
	// content is what is inside packets.
	content = []string{
		"internal/request", "internal/stream", "internal/http1", "internal/http1/evidence", "internal/http1/message", "internal/http1/queue", "internal/http1/syntax", "internal/http2", "internal/http2/fields", "internal/http2/frame", "internal/http2/message", "internal/http2/order", "internal/tls", "internal/tls/follow", "internal/exchange",
		"internal/payload", "internal/privacy", "internal/route", "internal/forwarded", "internal/tracecontext",
		"internal/gateway", "internal/rpc", "internal/genai", "internal/jsonscan",
	}
	domains = join(transport, content)
	facts   = []string{"internal/ledger", "internal/fact"}
	// components is what the components of this module share.
	components = []string{"internal/fault", "internal/strict", "internal/sharedcomponent", "internal/delivery", "internal/control"}
	// ground is what hooks and tc stand on.
	ground = []string{"internal/capability", "internal/probe/netns", "internal/probe/shared/..."}
	// settings and clock are values and a clock for the rooms of the kernel side.
	settings = []string{"internal/probe/settings", "internal/probe/clock"}
	// vantage is what every vantage point stands on.
	vantage = join(ground, settings, list("internal/probe/record", "internal/probe/hook"))
	// common is what the receiver's rooms share.
	common = []string{
		"receiver/internal/declared", "receiver/internal/metadata", "receiver/internal/resource", "receiver/internal/httpview",
		"receiver/internal/account", "receiver/internal/sourceview", "receiver/internal/tlsview",
	}
)

// rules are those of all rooms. Each arrow that they allow points down.
var rules = []rule{
	// Domains and facts: no kernel, no pdata, no Collector.
	{rooms: transport, imports: domains},
	{rooms: content, imports: domains, planned: true},
	{rooms: list("internal/cleanlog"), imports: domains},
	{rooms: list("internal/ledger")},
	{rooms: list("internal/fact"), imports: join(domains, facts)},

	// What the components of this module share.
	{rooms: list("internal/fault")},
	{rooms: list("internal/strict", "internal/sharedcomponent"), imports: list(collector)},
	{rooms: list("internal/control")},
	{rooms: list("internal/delivery"), imports: list(pdata, collector)},

	// The kernel side. Only these reach the kernel.
	{rooms: list("internal/capability"), imports: list(kernel, system)},
	{rooms: list("internal/probe/settings"), imports: domains},
	{rooms: list("internal/probe/clock"), imports: list("internal/timens", system)},
	{rooms: list("internal/probe/netns"), imports: list("internal/capability", kernel, system)},
	{rooms: list("internal/probe/shared/..."), imports: join(settings, list("internal/capability", kernel, system))},
	{rooms: list("internal/probe/hook/..."), imports: join(domains, ground, settings, list(kernel, system))},
	{rooms: list("internal/probe/tc/..."), imports: join(ground, list("internal/probe/tc/attach", "internal/probe/tc/dump", kernel, system))},
	{rooms: list("internal/probe/local"), imports: list("internal/probe/shared", "internal/probe/tc", kernel, system)},
	{rooms: list("internal/probe/record"), imports: join(domains, facts, ground, settings)},
	{rooms: list("internal/probe/look"), imports: join(ground, settings, list("internal/probe/hook", kernel, system))},
	{rooms: list("internal/probe/listening"), imports: join(domains, facts, vantage, list("internal/probe/live", "internal/probe/look", kernel, system))},
	{
		rooms:   list("internal/probe/sockets"),
		imports: join(domains, facts, vantage, list("internal/probe/live", "internal/probe/look", "internal/probe/listening", kernel, system)),
	},
	{
		rooms:   list("internal/probe/packets/..."),
		imports: join(domains, facts, vantage, list("internal/probe/local", "internal/probe/packets/...", "internal/probe/tc", kernel, system)),
	},
	{
		rooms:   list("internal/probe/inspect"),
		imports: join(domains, facts, vantage, list("internal/probe/local", "internal/probe/tc", kernel, system)),
	},
	{
		rooms:   list("internal/probe/sources/..."),
		imports: join(domains, facts, vantage, list("internal/probe/live", kernel, system)),
	},
	{rooms: list("internal/probe/live"), imports: join(domains, list("internal/probe/shared"))},
	{rooms: list("internal/probe"), imports: join(domains, facts, list("internal/capability", "internal/probe/...", kernel, system))},
	{rooms: list("internal/probe/internal/reference"), imports: list(kernel)},
	{rooms: list("internal/guard/..."), imports: join(domains, ground, list("internal/probe/local", "internal/probe/tc", kernel, system))},

	// The receiver, from what it declares to its face.
	{rooms: list("receiver/internal/metadata"), imports: list(pdata, collector)},
	{rooms: list("receiver/internal/metadatatest"), imports: list("receiver/internal/metadata", pdata, collector)},
	{rooms: list("receiver/internal/declared"), imports: list("receiver/internal/metadata", pdata)},
	{rooms: list("receiver/internal/resource"), imports: join(domains, list("receiver/internal/declared", "receiver/internal/metadata", pdata, collector))},
	{rooms: list("receiver/internal/httpview", "receiver/internal/tlsview"), imports: domains},
	{rooms: list("receiver/internal/account"), imports: list("internal/ledger", "receiver/internal/declared")},
	{rooms: list("receiver/internal/sourceview"), imports: join(domains, list("receiver/internal/declared"))},
	{rooms: list("receiver/internal/logrecord/oneline")},
	{rooms: list("receiver/internal/logrecord/columns"), imports: list("receiver/internal/declared", pdata)},
	{rooms: list("receiver/internal/logrecord"), imports: join(domains, facts, common, list("receiver/internal/logrecord/oneline", "receiver/internal/logrecord/columns", pdata, collector))},
	{rooms: list("receiver/internal/series/histogram"), imports: list("receiver/internal/declared", pdata)},
	{rooms: list("receiver/internal/series"), imports: join(domains, facts, common, list("receiver/internal/series/histogram", pdata, collector))},
	{
		rooms:   list("receiver/internal/observe"),
		imports: join(domains, facts, common, list("internal/probe", "receiver/internal/logrecord", "receiver/internal/series", pdata, collector)),
	},
	{
		rooms: list("receiver/internal/pipeline"),
		imports: join(domains, facts, list("internal/cleanlog", "internal/probe", "receiver/internal/logrecord",
			"receiver/internal/account", "receiver/internal/series", "receiver/internal/observe", pdata, collector)),
	},
	{rooms: list("receiver/internal/check"), imports: list("internal/fault", "internal/packet", "internal/probe", "internal/probe/settings", collector)},
	{rooms: list("receiver/internal/inspection"), imports: join(domains, list("internal/probe", "internal/probe/settings", "receiver/internal/check", "receiver/internal/httpview", "receiver/internal/tlsview"))},
	{rooms: list("receiver/internal/sources"), imports: list("internal/probe", "receiver/internal/check", "receiver/internal/metadata", collector)},
	{rooms: list("receiver/internal/needs"), imports: list("internal/probe", "receiver/internal/declared")},
	{
		rooms: list("receiver"),
		imports: join(domains, facts, components, list("internal/capability", "internal/cleanlog", "internal/probe",
			"internal/probe/settings", "receiver/internal/...", pdata, collector)),
	},
	{rooms: list("receiver/internal/facttest", "receiver/internal/kerneltest"), imports: join(domains, facts, list("internal/probe", "internal/probe/settings", pdata))},
	{rooms: list(""), imports: list("receiver", collector)},

	// Other components.
	{rooms: list("connector/threats/..."), imports: join(domains, components, list("internal/cleanlog", "connector/threats/...", pdata, collector))},
	{rooms: list("connector/guard/internal/address")},
	{rooms: list("connector/guard/internal/blocks"), imports: list("connector/guard/internal/address", "internal/clean")},
	{rooms: list("connector/guard/internal/allow"), imports: list("connector/guard/internal/address")},
	{rooms: list("connector/guard/internal/allow/host"), imports: list("connector/guard/internal/address", "connector/guard/internal/allow", kernel, system)},
	{rooms: list("connector/guard/internal/allow/keep"), imports: list("connector/guard/internal/allow", "connector/guard/internal/allow/host", system)},
	{rooms: list("connector/guard/internal/lists"), imports: list("connector/guard/internal/address", "internal/clean")},
	{rooms: list("connector/guard/internal/crowdsec"), imports: list("connector/guard/internal/address", "internal/clean")},
	{rooms: list("connector/guard/internal/follow"), imports: list("connector/guard/internal/crowdsec", "connector/guard/internal/lists", "connector/guard/internal/settings", collector)},
	{rooms: list("connector/guard/internal/shares"), imports: list(pdata)},
	{rooms: list("connector/guard/internal/record"), imports: list("internal/clean", pdata)},
	{rooms: list("connector/guard/internal/blocklog"), imports: list("internal/clean", "connector/guard/internal/blocks", pdata)},
	{rooms: list("connector/guard/internal/tally")},
	{rooms: list("connector/guard/internal/suspects")},
	{rooms: list("connector/guard/internal/points"), imports: list(pdata)},
	{rooms: list("connector/guard/internal/saved"), imports: list("connector/guard/internal/blocks", collector)},
	{rooms: list("connector/guard/internal/lifted"), imports: list("connector/guard/internal/blocks")},
	{rooms: list("connector/guard/internal/deadline"), imports: list(collector)},
	{rooms: list("connector/guard/internal/outlet"), imports: list("connector/guard/internal/blocklog", "internal/delivery", pdata, collector)},
	{
		rooms: list("connector/guard/internal/intake"),
		imports: list("connector/guard/internal/address", "connector/guard/internal/blocks", "connector/guard/internal/figures",
			"connector/guard/internal/record", "connector/guard/internal/shares", "connector/guard/internal/suspects", pdata),
	},
	{rooms: list("connector/guard/internal/settings"), imports: join(components, list("connector/guard/internal/lists", collector))},
	{rooms: list("connector/guard/..."), imports: join(domains, components, list("connector/guard/...", "internal/guard/...", "internal/probe/tc", pdata, collector))},
	{rooms: list("internal/view/..."), imports: join(domains, list("internal/view/...", pdata)), planned: true},
	{rooms: list("exporter/view/..."), imports: list("exporter/view/...", "internal/clean", "internal/view/...", pdata, collector), planned: true},

	// Programs, and what tests.
	{rooms: list("internal/diagnosis"), imports: list("internal/clean", "internal/probe")},
	{rooms: list("cmd/ebpf-tcp-doctor"), imports: list("internal/diagnosis", "receiver", collector)},
	{
		rooms: list("cmd/ebpf-tcp"),
		imports: list("internal/clean", "internal/cleanlog", "internal/control", "internal/view/...",
			"cmd/ebpf-tcp/internal/...", pdata, collector),
	},
	{
		rooms:   list("cmd/ebpf-tcp/internal/agent"),
		imports: list("internal/clean", "internal/view/screen", "receiver", "connector/threats", pdata, collector),
	},
	{rooms: list("cmd/ebpf-tcp/internal/terminal"), imports: list("internal/view/screen")},
	{
		rooms:   list("exporter/view"),
		imports: list("exporter/view/internal/...", "internal/sharedcomponent", "internal/strict", "internal/view/model", pdata, collector),
	},
	{rooms: list("exporter/view/internal/page"), imports: list("internal/view/model", "internal/view/screen")},
	{rooms: list("exporter/view/internal/metadata"), imports: list(collector)},
	// What people see: pdata only.
	{rooms: list("internal/view/event"), imports: list("internal/clean", pdata)},
	{rooms: list("internal/view/filter", "internal/view/line"), imports: list("internal/view/event")},
	{rooms: list("internal/view/model"), imports: list("internal/clean", "internal/view/event", pdata)},
	{rooms: list("internal/view/screen"), imports: list("internal/view/event", "internal/view/line", "internal/view/model")},
	{rooms: list("internal/testbed"), imports: list(kernel, system)},
	{rooms: list("internal/testbed/lab"), imports: list(system)},
	{
		rooms:   list("internal/testbed/street"),
		imports: list("internal/probe/netns", "internal/probe/tc/...", "internal/testbed", "internal/testbed/wire", kernel, system),
	},
	{rooms: list("internal/testbed/replay"), imports: list(kernel, system)},
	{rooms: list("internal/testbed/schema"), imports: list(collector)},
	{rooms: list("internal/testbed/wire"), imports: list("internal/probe/netns", kernel, system)},
	{rooms: list("bench"), imports: list("internal/testbed/lab", kernel, system)},
	{rooms: list("scripts/..."), imports: list("internal/testbed")},
	{rooms: list("test/...", "deploy")},
	{rooms: list("deploy/make"), imports: list("deploy")},
}

// nevers hold for whatever a room imports, however far away.
var nevers = []struct {
	rooms, never []string
	why          string
}{
	{join(domains, facts), list("internal/probe/...", kernel, pdata, collector), "domains are pure Go"},
	{list("internal/probe/tc/..."), list("internal/probe/packets/...", "internal/probe/sockets", "internal/probe/hook", "internal/fact"), "tc attaches the programs of others"},
	{list("internal/probe/..."), list("receiver/...", pdata, collector), "the kernel side knows no Collector"},
	{list("internal/probe/packets/..."), list("internal/probe/sockets", "internal/probe/inspect", "internal/probe/listening", "internal/probe/look"), "vantage points don't know each other"},
	{list("internal/probe/inspect"), list("internal/probe/sockets", "internal/probe/packets/...", "internal/probe/listening", "internal/probe/look"), "vantage points don't know each other"},
	{list("internal/probe/sockets"), list("internal/probe/packets/...", "internal/probe/tc/..."), "vantage points don't know each other"},
	{list("receiver/..."), list("internal/guard/...", "connector/..."), "the receiver reports facts and never acts"},
	{
		list("internal/guard/..."),
		list("internal/probe", "internal/probe/sockets", "internal/probe/packets/...", "internal/probe/inspect", "internal/probe/sources/...", "internal/probe/hook/...", "internal/fact", pdata, collector),
		"the guard uses tc, local and what they stand on, and nothing else of the kernel side",
	},
	{list("receiver/internal/logrecord"), list("receiver/internal/series", "internal/probe/...", kernel), "logs and metrics are made apart"},
	{list("receiver/internal/series"), list("receiver/internal/logrecord", "internal/probe/...", kernel), "logs and metrics are made apart"},
	{
		list("", "cmd/...", "receiver", "receiver/internal/pipeline", "receiver/internal/observe", "internal/probe/...", "internal/diagnosis"),
		list("receiver/internal/facttest", "receiver/internal/kerneltest", "receiver/internal/metadatatest", "internal/testbed/..."),
		"only tests and benchmarks use what is for them",
	},
	{list("connector/threats/...", "exporter/view/...", "internal/view/..."), list("internal/probe/...", "internal/capability", kernel), "they run on any host"},
}

func list(rooms ...string) []string { return rooms }

func join(lists ...[]string) []string {
	var all []string
	for _, one := range lists {
		all = append(all, one...)
	}
	return all
}
