// SPDX-License-Identifier: Apache-2.0

// Package settings is the configuration block rules: what each rule can be told.
package settings

import "time"

// Rules has the settings of each rule, by its name.
type Rules struct {
	PortScan         PortScan         `mapstructure:"port_scan"`
	StealthScan      StealthScan      `mapstructure:"stealth_scan"`
	OutOfStateScan   OutOfStateScan   `mapstructure:"out_of_state_scan"`
	DistributedScan  DistributedScan  `mapstructure:"distributed_scan"`
	SYNFlood         SYNFlood         `mapstructure:"syn_flood"`
	Overload         Overload         `mapstructure:"overload"`
	SlowHold         SlowHold         `mapstructure:"slow_hold"`
	LoginGuessing    LoginGuessing    `mapstructure:"login_guessing"`
	Land             Count            `mapstructure:"land"`
	PortZero         Count            `mapstructure:"port_zero"`
	Bogon            Count            `mapstructure:"bogon"`
	Malformed        Count            `mapstructure:"malformed"`
	HTTPAuth         HTTPAuth         `mapstructure:"http_auth"`
	HTTPProbing      HTTPProbing      `mapstructure:"http_probing"`
	TLSFingerprint   TLSFingerprint   `mapstructure:"tls_fingerprint"`
	LiteralSignature LiteralSignature `mapstructure:"literal_signature"`
	PayloadSignature PayloadSignature `mapstructure:"payload_signature"`

	_ struct{}
}

// PortScan is a sequential hypothesis test over first contacts.
type PortScan struct {
	Enabled bool     `mapstructure:"enabled"`
	Except  []string `mapstructure:"except"`
	// ClientSuccess and ScannerSuccess are how probable it is that a first contact succeeds.
	ClientSuccess  float64 `mapstructure:"client_success"`
	ScannerSuccess float64 `mapstructure:"scanner_success"`
	// FalseAlarm and Detection are the probabilities that the test aims at.
	FalseAlarm float64 `mapstructure:"false_alarm"`
	Detection  float64 `mapstructure:"detection"`
	// Remember is how long contacts are remembered after the last.
	Remember time.Duration `mapstructure:"remember"`

	_ struct{}
}

// StealthScan counts ports that got segments with impossible flags.
type StealthScan struct {
	Enabled  bool          `mapstructure:"enabled"`
	Except   []string      `mapstructure:"except"`
	MinPorts int           `mapstructure:"min_ports"`
	Window   time.Duration `mapstructure:"window"`

	_ struct{}
}

// OutOfStateScan counts ports that answered segments of no connection with a reset.
type OutOfStateScan struct {
	Enabled  bool          `mapstructure:"enabled"`
	Except   []string      `mapstructure:"except"`
	MinPorts int           `mapstructure:"min_ports"`
	Window   time.Duration `mapstructure:"window"`

	_ struct{}
}

// DistributedScan finds sources that scan together.
type DistributedScan struct {
	Enabled bool     `mapstructure:"enabled"`
	Except  []string `mapstructure:"except"`
	// MinAlike is how many scanners with the same first ports are a set.
	MinAlike int `mapstructure:"min_alike"`
	// Gather is how long a scan waits for others that are alike.
	Gather time.Duration `mapstructure:"gather"`
	// MinSources and MinPorts are for many sources with few closed ports each.
	MinSources int           `mapstructure:"min_sources"`
	MinPorts   int           `mapstructure:"min_ports"`
	Window     time.Duration `mapstructure:"window"`

	_ struct{}
}

// SYNFlood is a CUSUM over handshakes that don't complete.
type SYNFlood struct {
	Enabled bool     `mapstructure:"enabled"`
	Except  []string `mapstructure:"except"`
	// MinRate is the least rate of completed handshakes that others are compared with.
	MinRate float64 `mapstructure:"min_rate"`
	// Drift is the share of handshakes that may stay incomplete, Threshold the sum above it.
	Drift     float64 `mapstructure:"drift"`
	Threshold float64 `mapstructure:"threshold"`

	_ struct{}
}

// Overload finds services that are harmed, and who has a large share.
type Overload struct {
	Enabled bool     `mapstructure:"enabled"`
	Except  []string `mapstructure:"except"`
	// QueueFill is the fill of the accept queue that is harm.
	QueueFill float64 `mapstructure:"queue_fill"`
	// MinAccept and AcceptTimes: a median accept time over both is harm.
	MinAccept   time.Duration `mapstructure:"min_accept_time"`
	AcceptTimes float64       `mapstructure:"accept_times_median"`
	// ShareTimes is how far a source's share is over that of the median source.
	ShareTimes float64 `mapstructure:"share_times_median"`

	_ struct{}
}

// SlowHold finds sources that hold connections without letting the server answer.
type SlowHold struct {
	Enabled        bool     `mapstructure:"enabled"`
	Except         []string `mapstructure:"except"`
	MinConnections int      `mapstructure:"min_connections"`
	// MinAnswered is the share of a service's other connections that are answered.
	MinAnswered float64 `mapstructure:"min_answered"`

	_ struct{}
}

// LoginGuessing counts short connections with few bytes.
type LoginGuessing struct {
	Enabled bool     `mapstructure:"enabled"`
	Except  []string `mapstructure:"except"`
	// Processes and Ports say which services have logins.
	Processes      []string      `mapstructure:"processes"`
	Ports          []int         `mapstructure:"ports"`
	MinConnections int           `mapstructure:"min_connections"`
	Window         time.Duration `mapstructure:"window"`
	MinBytes       int           `mapstructure:"min_bytes"`
	MaxBytes       int           `mapstructure:"max_bytes"`
	MaxDuration    time.Duration `mapstructure:"max_duration"`

	_ struct{}
}

// Count is a rule that counts segments.
type Count struct {
	Enabled  bool     `mapstructure:"enabled"`
	Except   []string `mapstructure:"except"`
	MinCount int      `mapstructure:"min_count"`

	_ struct{}
}

// HTTPAuth counts answers 401 and 403.
type HTTPAuth struct {
	Enabled  bool          `mapstructure:"enabled"`
	Except   []string      `mapstructure:"except"`
	MinCount int           `mapstructure:"min_count"`
	Leak     time.Duration `mapstructure:"leak"`
	// MinUsers are users and tokens of one source, MinSources sources of one user or token.
	MinUsers   int           `mapstructure:"min_users"`
	MinSources int           `mapstructure:"min_sources"`
	Window     time.Duration `mapstructure:"window"`

	_ struct{}
}

// HTTPProbing counts distinct paths that were answered with 4xx.
type HTTPProbing struct {
	Enabled  bool          `mapstructure:"enabled"`
	Except   []string      `mapstructure:"except"`
	MinPaths int           `mapstructure:"min_paths"`
	Leak     time.Duration `mapstructure:"leak"`
	// MinShare is the least share of such answers in all.
	MinShare float64 `mapstructure:"min_share"`

	_ struct{}
}

// TLSFingerprint compares fingerprints of clients with lists.
type TLSFingerprint struct {
	Enabled bool     `mapstructure:"enabled"`
	Except  []string `mapstructure:"except"`
	// Files are lists of JA3 and JA4 fingerprints.
	Files []string `mapstructure:"files"`
	// Rare tells whether fingerprints that few of a service's handshakes have are found.
	Rare bool `mapstructure:"rare"`
	// MinHandshakes is how many a service needs first, MaxShare the share that is rare.
	MinHandshakes int     `mapstructure:"min_handshakes"`
	MaxShare      float64 `mapstructure:"max_share"`

	_ struct{}
}

// LiteralSignature searches requests for the user's own strings.
type LiteralSignature struct {
	Enabled bool     `mapstructure:"enabled"`
	Except  []string `mapstructure:"except"`
	// Files have a name and a string in each line.
	Files []string `mapstructure:"files"`
	// Headers are the names of header fields that are searched.
	Headers []string `mapstructure:"headers"`
	// MaxBytes of a value are searched.
	MaxBytes int `mapstructure:"max_bytes"`

	_ struct{}
}

// PayloadSignature has a sample of the requests searched by a rule set.
type PayloadSignature struct {
	Enabled bool     `mapstructure:"enabled"`
	Except  []string `mapstructure:"except"`
	// Folder has another rule set than the embedded one.
	Folder string `mapstructure:"folder"`
	// Paranoia is the level of the OWASP core rule set, 1 to 4.
	Paranoia int `mapstructure:"paranoia"`
	// MinScore is the sum of the scores of the rules that match.
	MinScore int `mapstructure:"min_score"`
	// Sample is the share of the requests, MaxRate how many of them in a second.
	Sample  float64 `mapstructure:"sample"`
	MaxRate int     `mapstructure:"max_rate"`
	// MaxBytes of a body are searched. QueueSize is how many requests wait, QueueBytes how much
	// they may hold together.
	MaxBytes   int `mapstructure:"max_bytes"`
	QueueSize  int `mapstructure:"queue_size"`
	QueueBytes int `mapstructure:"queue_bytes"`

	_ struct{}
}

// Default returns the defaults.
func Default() Rules {
	counting := Count{Enabled: true, MinCount: 1}
	return Rules{
		PortScan: PortScan{
			Enabled: true, ClientSuccess: 0.8, ScannerSuccess: 0.2, FalseAlarm: 1e-5, Detection: 0.99,
			Remember: 24 * time.Hour,
		},
		StealthScan:     StealthScan{Enabled: true, MinPorts: 3, Window: 10 * time.Minute},
		OutOfStateScan:  OutOfStateScan{Enabled: true, MinPorts: 10, Window: time.Minute},
		DistributedScan: DistributedScan{Enabled: true, MinAlike: 3, Gather: 5 * time.Second, MinSources: 20, MinPorts: 50, Window: 5 * time.Minute},
		SYNFlood:        SYNFlood{Enabled: true, MinRate: 30, Drift: 0.35, Threshold: 10},
		Overload:        Overload{Enabled: true, QueueFill: 0.8, MinAccept: time.Second, AcceptTimes: 20, ShareTimes: 10},
		SlowHold:        SlowHold{Enabled: true, MinConnections: 20, MinAnswered: 0.5},
		LoginGuessing: LoginGuessing{
			Enabled: true, Processes: []string{"sshd", "sshd-session"}, MinConnections: 10, Window: 10 * time.Minute,
			MinBytes: 600, MaxBytes: 2500, MaxDuration: 30 * time.Second,
		},
		Land: counting, PortZero: counting, Bogon: counting, Malformed: counting,
		HTTPAuth:         HTTPAuth{Enabled: true, MinCount: 10, Leak: 10 * time.Second, MinUsers: 10, MinSources: 10, Window: time.Hour},
		HTTPProbing:      HTTPProbing{Enabled: true, MinPaths: 10, Leak: 10 * time.Second, MinShare: 0.5},
		TLSFingerprint:   TLSFingerprint{Enabled: true, MinHandshakes: 1000, MaxShare: 0.001},
		LiteralSignature: LiteralSignature{Enabled: true, MaxBytes: 8192},
		PayloadSignature: PayloadSignature{Paranoia: 1, MinScore: 5, Sample: 1, MaxRate: 20, MaxBytes: 8192, QueueSize: 256, QueueBytes: 4 << 20},
	}
}
