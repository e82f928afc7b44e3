package bench

// Plan is what one run measures.
type Plan struct {
	Groups []Group
	// Crowd is how many idle connections each of CrowdSystems holds; 0: none.
	Crowd        int
	CrowdSystems []string
	// Back is how many clients of Restarted come back after a restart of its
	// broker; 0: none.
	Back      int
	Restarted string
	// Partial says that the plan is not meant to show every goal.
	Partial bool
}

// Group is cells and the systems that are measured in them.
type Group struct {
	Systems []string
	Cells   []Cell
}

// cells is ParseCells for lists that are part of the program.
func cells(list string) []Cell {
	c, err := ParseCells(list)
	if err != nil {
		panic(err)
	}
	return c
}

// everybody is all systems that are alike enough to stand in one chart.
var everybody = []string{
	OursNull, OursCurve, OursNullCalls, OursCurveCalls, LibzmqNull, LibzmqCurve, NATS, NATSTLS, NATSCalls, NATSTLSCalls, PyzmqNull, PyzmqCurve, GRPC, GRPCTLS,
}

// rivals is whom the goals speak of.
var rivals = []string{OursNull, OursCurve, OursCurveCalls, LibzmqNull, LibzmqCurve, NATS, NATSCalls}

// The cells of goals.
const (
	cellOne      = "100B/1"
	cellHundred  = "100B/100"
	cellThousand = "100B/1000"
	cellMiddling = "60kB/10"
	cellLarge    = "1MB/10"
	// A queue of 100,000 calls behind what the workers run at once.
	cellDeep = "100B/101024"
	// 1,000 workers, with an empty queue and with one of 100,000.
	cellWorkers     = "100B/1000/w1000/s8"
	cellDeepWorkers = "100B/108000/w1000/s8"
	// Workers of one slot, to whom each call goes in a write of its own: a few of
	// them, and 1,000 with a queue of 100,000.
	cellFewSingle   = "100B/1000/w16/s1"
	cellDeepSingles = "100B/101000/w1000/s1"

	mainCells = cellOne + "," + cellHundred + "," + cellThousand + "," + cellMiddling + "," + cellLarge
)

// Quick shows every goal in a few minutes.
func Quick() *Plan {
	return &Plan{
		Groups: []Group{
			{append([]string{NATSTLS, PyzmqNull, GRPC}, rivals...), cells(mainCells)},
			{[]string{OursCurve, LibzmqCurve, NATS}, cells(cellDeep + "," + cellWorkers + "," + cellDeepWorkers)},
			{[]string{OursCurve, LibzmqCurve, NATS}, cells(cellFewSingle + "," + cellDeepSingles)},
		},
		Crowd: 10_000, CrowdSystems: []string{OursCurve, LibzmqCurve, NATSTLS},
		Back: 1000, Restarted: OursCurve,
	}
}

// Full is every system in every cell that it can do. Cells with more than
// 100 MB in flight are left out: they would measure the memory of the machine.
func Full() *Plan {
	return &Plan{
		Groups: []Group{
			{everybody, cells("0B/1,0B/10,0B/100,0B/1000,100B/1,100B/10,100B/100,100B/1000,1kB/1,1kB/10,1kB/100,1kB/1000," +
				"60kB/1,60kB/10,60kB/100,60kB/1000,1MB/1,1MB/10,1MB/100," +
				"100B/10/c10,100B/100/c10,100B/1000/c10,60kB/10/c10,100B/100/c100,100B/1000/c100,60kB/100/c100")},
			{[]string{OursNull, OursCurve, LibzmqNull, LibzmqCurve, NATS, NATSTLS}, cells("100B/100/w100/s8,100B/1000/w100/s8," +
				"100B/100/w1000/s8," + cellWorkers + "," + cellDeepWorkers + "," + "100B/1000/w1000/s1," + cellDeepSingles + "," + cellFewSingle + "," + cellDeep)},
		},
		Crowd: 10_000, CrowdSystems: []string{OursCurve, OursNull, LibzmqCurve, LibzmqNull, NATSTLS, NATS},
		Back: 1000, Restarted: OursCurve,
	}
}
