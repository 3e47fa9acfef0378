-- The average price at which the last ten auctions of a seller closed. As it is published, the query does not compile: it names A.id
-- where A is not known, and its OVER would have to take rows that change, which neither Flink nor Weir does with a frame of rows. Here
-- the same is asked for with a Top-N, whose result is the average as of now.
CREATE TABLE nexmark_q6 (seller BIGINT, avg_price BIGINT) WITH ('connector' = 'blackhole');

INSERT INTO nexmark_q6
SELECT seller, AVG(price)
FROM (
  SELECT seller, price, ROW_NUMBER() OVER (PARTITION BY seller ORDER BY `dateTime` DESC, id DESC) AS place
  FROM (
    SELECT *, ROW_NUMBER() OVER (PARTITION BY id, seller ORDER BY price DESC, `dateTime` ASC) AS rownum
    FROM (
      SELECT A.id, A.seller, B.price, B.`dateTime`
      FROM auction AS A, bid AS B
      WHERE A.id = B.auction AND B.`dateTime` BETWEEN A.`dateTime` AND A.expires
    )
  )
  WHERE rownum <= 1
)
WHERE place <= 10
GROUP BY seller;
