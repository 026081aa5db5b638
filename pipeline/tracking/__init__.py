"""Single-camera tracking and the choice of crops; read kalman, association, table, history, tracker, then sampling."""
