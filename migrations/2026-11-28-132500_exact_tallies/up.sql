-- A deal may be worth 10^14 when its amount is multiplied by its percent: the sums of a hundred thousand such deals are more than a bigint
-- holds, and no record is refused for the sake of a sum.
ALTER TABLE tallies ALTER COLUMN amount TYPE numeric, ALTER COLUMN weighted TYPE numeric;
