package main

import "context"

// queueSuites are the job queues, each with its own promise of once. All of them listen.
func queueSuites() []suite {
	var all []suite
	for _, q := range []queue{river, pgBoss, graphileWorker} {
		all = append(all, q.suite())
	}
	return all
}

// river promises once if a job is completed in the transaction that does its work. What a dead worker ran is rescued by
// whoever leads, after a time that is set.
var river = queue{
	name: "River", unfinished: "SELECT count(*) FROM river_job WHERE state <> 'completed'",
	make: func(ctx context.Context, s *stage) (program, error) { return s.goTool(ctx, "river") },
}

// pgBoss promises once for its transactional workers, which it gives the transaction that completes the job. What a dead
// worker ran expires.
var pgBoss = queue{
	name: "pg-boss", needs: []string{"node"}, unfinished: "SELECT count(*) FROM pgboss.job WHERE name = 'effects' AND state <> 'completed'",
	make: func(ctx context.Context, s *stage) (program, error) { return s.nodeTool(ctx, "", "node", "pg-boss.js") },
}

// graphileWorker promises at least once: a job may run again if its worker was killed between the work and its
// completion, so the work has to be such that a second time changes nothing. What a dead worker ran stays locked for
// four hours, unless the queue is told that it is gone.
var graphileWorker = queue{
	name: "graphile-worker", needs: []string{"node"}, unfinished: "SELECT count(*) FROM graphile_worker._private_jobs", unlock: true,
	make: func(ctx context.Context, s *stage) (program, error) {
		return s.nodeTool(ctx, "", "node", "graphile-worker.js")
	},
}
