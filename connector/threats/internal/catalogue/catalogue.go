// SPDX-License-Identifier: Apache-2.0

// Package catalogue describes the rules, to the code, to people and in each finding.
package catalogue

import (
	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/finding"
)

// ID is the number of a rule.
type ID uint8

// The rules, in the order of the documentation.
const (
	PortScan ID = iota
	StealthScan
	OutOfStateScan
	DistributedScan
	SYNFlood
	Overload
	SlowHold
	LoginGuessing
	Land
	PortZero
	Bogon
	Malformed
	HTTPAuth
	HTTPProbing
	TLSFingerprint
	LiteralSignature
	PayloadSignature
	// Anomaly and Model are scores.
	Anomaly
	Model
	// Rules is their number.
	Rules
)

// String is the rule's name.
func (id ID) String() string { return All[id].Name }

// Of returns the rule with a name; false if there is none.
func Of(name string) (ID, bool) {
	for id := range All {
		if All[id].Name == name {
			return ID(id), true
		}
	}
	return 0, false
}

// Names of evidence.
const (
	FactPortsFailed    = "tcp.threat.port.failed.count"
	FactPortsConnected = "tcp.threat.port.connected.count"
	FactPortsStray     = "tcp.threat.port.stray.count"
	FactSegments       = "tcp.threat.segment.count"
	FactSources        = "tcp.threat.source.count"
	FactSyns           = "tcp.threat.syn.count"
	FactCompleted      = "tcp.threat.completed.count"
	FactCookies        = "tcp.threat.syncookie.count"
	FactEmbryonic      = "tcp.threat.embryonic_reset.count"
	FactOverflows      = "tcp.threat.overflow.count"
	FactQueueLength    = "tcp.threat.accept_queue.length"
	FactQueueLimit     = "tcp.threat.accept_queue.limit"
	FactAccept         = "tcp.threat.accept.duration"
	FactSilent         = "tcp.threat.silent.count"
	FactReceiveRate    = "tcp.threat.receive.rate"
	FactConnections    = "tcp.threat.connection.count"
	FactReceived       = "tcp.threat.receive.size"
	FactRequests       = "tcp.threat.request.count"
	FactPaths          = "tcp.threat.path.count"
	FactUsers          = "tcp.threat.user.count"
	FactShare          = "tcp.threat.handshake.share"
	FactHandshakes     = "tcp.threat.handshake.count"
	FactSignatureScore = "tcp.threat.signature.score"
)

// Doubles are the names of evidence that is no whole number.
func Doubles() []string { return []string{FactAccept, FactReceiveRate, FactShare} }

// Entry is a rule with how sure its findings are, where that is the same for all of them.
type Entry struct {
	finding.Rule
	// Confidence is 0 where each finding has its own.
	Confidence float64
}

// Categories, as in security_rule.category.
const (
	discovery  = "discovery"
	impact     = "denial_of_service"
	access     = "credential_access"
	anomaly    = "anomaly"
	initial    = "initial_access"
	blacklists = "threat_intelligence"
)

// All are the rules. The table in docs/threats.md is generated from it.
var All = [Rules]Entry{
	PortScan: {finding.Rule{
		Name: "port_scan", Category: discovery, Severity: finding.Warn, Spoofable: true, Unit: "{port}",
		Description: "A source tried many ports that are closed.",
		Algorithm:   "Sequential hypothesis test over first contacts with an address and port (Jung et al. 2004). A refused, reset or timed-out attempt counts against a source, a connection for it.",
		Default:     "success 0.8 for clients, 0.2 for scanners; false alarms 1e-5; nine closed ports in a row; contacts remembered for 24 h",
		Evidence:    "closed ports",
		Mistakes:    "A monitor that tries nine or more closed ports; a client of many services while all are down.",
	}, 0},
	StealthScan: {finding.Rule{
		Name: "stealth_scan", Category: discovery, Severity: finding.Warn, Spoofable: true, Unit: "{port}",
		Description: "A source sent segments with impossible flags to several ports.",
		Algorithm:   "Counts segments without flags, with FIN but no ACK, FIN+PSH+URG, SYN+FIN and SYN+RST, and the ports that they came to.",
		Default:     "3 ports and 3 segments in 10 min",
		Evidence:    "ports with impossible flags",
		Mistakes:    "None is known: no TCP sends such segments.",
	}, 1},
	OutOfStateScan: {finding.Rule{
		Name: "out_of_state_scan", Category: discovery, Severity: finding.Warn, Spoofable: true, Unit: "{port}",
		Description: "A source sent segments of no connection to many ports.",
		Algorithm:   "Counts new ports where a segment with ACK and without SYN or RST was answered by a reset because no socket had it (ACK, window and Maimon scans).",
		Default:     "10 ports in 1 min",
		Evidence:    "ports with such segments",
		Mistakes:    "A host that restarts while one source has connections to ten or more of its ports.",
	}, 0.95},
	DistributedScan: {finding.Rule{
		Name: "distributed_scan", Category: discovery, Severity: finding.Warn, Spoofable: true, Unit: "{port}",
		Description: "Several sources scan together, or one of them with decoys.",
		Algorithm:   "Scanners with the same first ports within some seconds are one set; so are many sources with few closed ports each on one host (linear counting). Nobody can tell a decoy from the scanner, so the set is named.",
		Default:     "3 scanners that are alike within 5 s, or 20 sources with 50 closed ports in 5 min",
		Evidence:    "closed ports, or sources",
		Mistakes:    "Unrelated scanners of a host with a public address that is scanned very often.",
	}, 0.8},
	SYNFlood: {finding.Rule{
		Name: "syn_flood", Category: impact, Severity: finding.Error, Spoofable: true, Unit: "{handshake}",
		Description: "A service gets far more SYNs than handshakes complete.",
		Algorithm:   "CUSUM over SYNs that do not complete, divided by the usual rate of completed handshakes (after Wang et al. 2002). The kernel's counters must confirm it: SYN cookies, drops from a full SYN queue, or resets of half-open handshakes. Names no source, and where listeners don't count their SYNs, no service.",
		Default:     "drift 0.35, threshold 10 s; a usual rate counts as at least 30 handshakes/s",
		Evidence:    "handshakes that did not complete",
		Mistakes:    "Many clients behind a path that loses answers.",
	}, 0.9},
	Overload: {finding.Rule{
		Name: "overload", Category: impact, Severity: finding.Warn, Spoofable: false, Unit: "{interval}",
		Description: "A service cannot keep up with its clients. It says overloaded, and by whom, not attacked.",
		Algorithm:   "Harm: the accept queue overflows, is nearly full for three intervals, or accepting takes far longer than usual. Then the sources whose completed connections are far over those of the median source.",
		Default:     "accept queue 80 % full, or accept time over 1 s and 20 × its median; sources with 10 × the median and 20 % of all",
		Evidence:    "harmful intervals",
		Mistakes:    "A benchmark, or a proxy with many people behind it: a rate cannot tell them from a flood.",
	}, 0.7},
	SlowHold: {finding.Rule{
		Name: "slow_hold", Category: impact, Severity: finding.Error, Spoofable: false, Unit: "{connection}",
		Description: "A source holds many connections by sending so slowly that the server cannot answer.",
		Algorithm:   "Counts connections of a source that are open for more than 10 s, have received something and got no answer. The service must answer most of its other connections. One with little history that turns all others away, because its connections are taken, is not seen. A slow body that the server answered early is not seen.",
		Default:     "20 connections; half of the others answered",
		Evidence:    "open connections without an answer",
		Mistakes:    "Many slow uploads from one address.",
	}, 0.9},
	LoginGuessing: {finding.Rule{
		Name: "login_guessing", Category: access, Severity: finding.Warn, Spoofable: false, Unit: "{connection}",
		Description: "A source makes many short connections to a service with logins.",
		Algorithm:   "Counts connections to sshd and to named ports that received a key exchange and little more.",
		Default:     "10 connections in 10 min, each with 600 to 2,500 bytes and at most 30 s",
		Evidence:    "such connections",
		Mistakes:    "Jobs that log in by key very often with a small client library.",
	}, 0.8},
	Land: {finding.Rule{
		Name: "land", Category: anomaly, Severity: finding.Info, Spoofable: true, Unit: "{segment}",
		Description: "Segments whose source and destination are the same.",
		Algorithm:   "Counts them.", Default: "1", Evidence: "segments", Mistakes: "None is known.",
	}, 1},
	PortZero: {finding.Rule{
		Name: "port_zero", Category: anomaly, Severity: finding.Info, Spoofable: true, Unit: "{segment}",
		Description: "Segments from or to port 0.",
		Algorithm:   "Counts them.", Default: "1", Evidence: "segments", Mistakes: "Fragments that a middlebox put together wrongly.",
	}, 1},
	Bogon: {finding.Rule{
		Name: "bogon", Category: anomaly, Severity: finding.Info, Spoofable: true, Unit: "{segment}",
		Description: "Segments from an address that no network routes.",
		Algorithm:   "Compares the source with RFC 6890, without private networks and loopback.", Default: "1", Evidence: "segments",
		Mistakes: "A laboratory that uses the networks for documentation.",
	}, 1},
	Malformed: {finding.Rule{
		Name: "malformed", Category: anomaly, Severity: finding.Info, Spoofable: true, Unit: "{segment}",
		Description: "Segments with impossible headers.",
		Algorithm:   "Counts them.", Default: "1", Evidence: "segments", Mistakes: "Defective hardware.",
	}, 1},
	HTTPAuth: {finding.Rule{
		Name: "http_auth", Category: access, Severity: finding.Warn, Spoofable: false, Unit: "{request}",
		Description: "Many requests of a source, or of one user or token, are answered with 401 or 403.",
		Algorithm:   "A bucket of requests of a source that leaks; distinct users and tokens of one source that were denied; distinct sources of one user or token that were denied. Of the last two, at least as many must be denied as were accepted. A user or token is known from user.id or user.name, or from a header field that the receiver records and shows.",
		Default:     "10 requests, one leaks every 10 s; 10 users or tokens, or 10 sources, in 1 h", Evidence: "requests, users or sources that were denied",
		Mistakes: "A program with an expired token that tries again and again, on one host or on many; many people behind one address after a password change.",
	}, 0.8},
	HTTPProbing: {finding.Rule{
		Name: "http_probing", Category: initial, Severity: finding.Warn, Spoofable: false, Unit: "{path}",
		Description: "A source asks for many paths that do not exist.",
		Algorithm:   "A bucket of distinct paths with an answer 4xx other than 401 and 403, that leaks one every 10 s; at least half of the source's requests.",
		Default:     "10 paths, one leaks every 10 s, half of all requests", Evidence: "distinct paths",
		Mistakes: "A crawler of a site whose pages have moved.",
	}, 0.8},
	TLSFingerprint: {finding.Rule{
		Name: "tls_fingerprint", Category: blacklists, Severity: finding.Warn, Spoofable: false, Unit: "{handshake}",
		Description: "A client has a TLS fingerprint that a list names, or that few clients of the service have.",
		Algorithm:   "Looks JA4 and JA3 up in the lists. With rare, counts the fingerprints of each service's handshakes (space-saving, 128 of a service).",
		Default:     "no list; rare ones off: 0.1 % of the handshakes, from 1,000 handshakes of the service on", Evidence: "handshakes",
		Mistakes: "Programs with one TLS library have one fingerprint. Rare: a browser's new version, a colleague's script, each client of a service that has few.",
	}, 0.6},
	LiteralSignature: {finding.Rule{
		Name: "literal_signature", Category: initial, Severity: finding.Warn, Spoofable: false, Unit: "{request}",
		Description: "Requests of a source have a string that a list names.",
		Algorithm:   "Searches paths, queries, the chosen header fields and captured bodies for all strings at once (Aho-Corasick). ASCII letters match in either case. %XX is also decoded, once.",
		Default:     "no list", Evidence: "requests",
		Mistakes: "A string that ordinary requests have, too.",
	}, 0.7},
	PayloadSignature: {finding.Rule{
		Name: "payload_signature", Category: initial, Severity: finding.Warn, Spoofable: false, Unit: "{request}",
		Description: "Requests of a source match rules against attacks on applications.",
		Algorithm:   "Has a sample of the requests judged by Coraza with the OWASP core rule set ([payloads.md](payloads.md)).",
		Default:     "off; paranoia 1, score 5", Evidence: "requests",
		Mistakes: "Those of the core rule set: text about SQL or shells, rich text, Base64.",
	}, 0.7},
	Anomaly: {finding.Rule{
		Name: "anomaly", Category: anomaly, Severity: finding.Warn, Spoofable: true, Unit: "1",
		Description: "A source does what few sources did before.",
		Algorithm:   "ECOD (Li et al. 2022) and robust z-scores over a vector of each source and window ([anomaly.md](anomaly.md)).",
		Default:     "off; score 2, windows of 10 s, warm-up 1 h", Evidence: "score",
		Mistakes: "Everything that is new and harmless, such as a backup that begins.",
	}, 0},
	Model: {finding.Rule{
		Name: "model", Category: anomaly, Severity: finding.Warn, Spoofable: true, Unit: "1",
		Description: "A model of the user's own gave a source a high score.",
		Algorithm:   "Asks a server by the Open Inference Protocol ([anomaly.md](anomaly.md)).", Default: "off; score 0.5", Evidence: "score",
		Mistakes: "Those of the model.",
	}, 0},
}
