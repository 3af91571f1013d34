/**
 * What a part of the scale run gives.
 *
 * @module
 */

/** What is to be run, from the command line. */
export interface ScaleOptions {
  /** Numbers of leases that a daemon joins. */
  readonly sizes: readonly number[];
  /** Light hosts. */
  readonly hosts: number;
  /** Seconds within which they start. */
  readonly within: number;
  /** Changed leases a second. */
  readonly rate: number;
  /** Seconds of churn. */
  readonly seconds: number;
}

/** A table with what it is about. */
export interface Section {
  readonly title: string;
  readonly columns: readonly string[];
  readonly rows: readonly (readonly string[])[];
  /** Sentences below the table. */
  readonly notes?: readonly string[];
  /** Lines of a plot, each with points of x and y. */
  readonly plot?: Plot;
}

/** A plot of lines over one axis. */
export interface Plot {
  readonly xLabel: string;
  readonly yLabel: string;
  readonly lines: readonly Line[];
}

/** One line of a plot. */
export interface Line {
  readonly label: string;
  readonly points: readonly (readonly [x: number, y: number])[];
}
