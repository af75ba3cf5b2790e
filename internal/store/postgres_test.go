package store

import "testing"

// TestPostgres runs the tests that are not about files with stands in PostgreSQL.
func TestPostgres(t *testing.T) {
	for _, tt := range []struct {
		name string
		test func(*testing.T)
	}{
		{"Manifests", TestManifests}, {"ManifestRefused", TestManifestRefused}, {"BlobHolders", TestBlobHolders}, {"Holds", TestHolds},
		{"RepositoriesRefused", TestRepositoriesRefused}, {"Selected", TestSelected}, {"ReferrersSeen", TestReferrersSeen}, {"Tags", TestTags},
		{"Budgets", TestBudgets}, {"Pauses", TestPauses}, {"Operations", TestOperations}, {"TouchedIsBounded", TestTouchedIsBounded},
		{"KeepJobs", TestKeepJobs}, {"LastRun", TestLastRun}, {"KeepRun", TestKeepRun}, {"KeepRunRefused", TestKeepRunRefused},
		{"KeepRunBounded", TestKeepRunBounded}, {"QuietRuns", TestQuietRuns}, {"RunsThatStay", TestRunsThatStay},
		{"History", TestHistory}, {"HistoryBounded", TestHistoryBounded}, {"HistoryLimited", TestHistoryLimited},
		{"PruneByAge", TestPruneByAge}, {"PruneRuns", TestPruneRuns}, {"PruneJobs", TestPruneJobs}, {"PruneRunsBySize", TestPruneRunsBySize},
		{"Writable", TestWritable}, {"TwoStores", TestTwoStores}, {"KeepRunWhole", TestKeepRunWhole},
		{"TouchJobs", TestTouchJobs}, {"ReadingWritesOnceADay", TestReadingWritesOnceADay}, {"HistoryHeld", TestHistoryHeld},
		{"PruneBeyondManifests", TestPruneBeyondManifests},
		{"ManifestDamaged", TestManifestDamaged}, {"PruneBySize", TestPruneBySize}, {"PruneManyRuns", TestPruneManyRuns},
		{"NotWritable", TestNotWritable}, {"PruneTogether", TestPruneTogether}, {"PruneOfManyRepositories", TestPruneOfManyRepositories}, {"Texts", TestTexts}, {"BudgetsAreChangedInTurn", TestBudgetsAreChangedInTurn},
	} {
		t.Run(tt.name, tt.test)
	}
}

// BenchmarkPostgres runs the benchmarks with stands in PostgreSQL.
func BenchmarkPostgres(b *testing.B) {
	for _, tt := range []struct {
		name      string
		benchmark func(*testing.B)
	}{
		{"AddBlobs", BenchmarkAddBlobs}, {"Holds", BenchmarkHolds}, {"BlobHolders", BenchmarkBlobHolders}, {"AddOneBlob", BenchmarkAddOneBlob},
		{"KeepQuietRun", BenchmarkKeepQuietRun}, {"KeepBusyRun", BenchmarkKeepBusyRun}, {"History", BenchmarkHistory},
		{"JobStates", BenchmarkJobStates}, {"KeepJobs", BenchmarkKeepJobs}, {"TouchJobs", BenchmarkTouchJobs}, {"Writable", BenchmarkWritable},
		{"PruneRuns", BenchmarkPruneRuns},
	} {
		b.Run(tt.name, tt.benchmark)
	}
}
