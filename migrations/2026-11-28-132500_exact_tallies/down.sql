-- What a bigint does not hold becomes the most that it holds.
ALTER TABLE tallies
    ALTER COLUMN amount TYPE bigint USING greatest(least(amount, 9223372036854775807), -9223372036854775808)::bigint,
    ALTER COLUMN weighted TYPE bigint USING greatest(least(weighted, 9223372036854775807), -9223372036854775808)::bigint;
