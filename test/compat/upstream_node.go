package main

import "context"

func nodeTests(ctx context.Context, s *stage) (*ownTests, error) { return nil, nil }
