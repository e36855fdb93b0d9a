-- Room on a page for the next version of a row: then the indexes need no new entry (heap-only tuples).

ALTER TABLE exchange SET (fillfactor = 40);
ALTER TABLE account SET (fillfactor = 50);
ALTER TABLE allowance SET (fillfactor = 50);
ALTER TABLE quota SET (fillfactor = 50);
ALTER TABLE replica SET (fillfactor = 50);
