DROP TABLE board_cards, board_columns, board_members, boards;
