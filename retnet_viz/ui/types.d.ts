// Types that the modules share with the kernel and with each other, for `make check`. No page loads it.

/** The bytes of a trait or of a message, however the channel wrapped them. */
export type Bytes = ArrayBuffer | ArrayBufferView<ArrayBuffer>;

/** The model of a widget: its traits, and a way to send messages to its Python side. */
export interface Model<Traits> {
  get<Name extends keyof Traits>(name: Name): Traits[Name];
  set<Name extends keyof Traits>(name: Name, value: Traits[Name]): void;
  set(values: Partial<Traits>): void;
  save_changes(): void;
  send(content: object, callbacks?: undefined, buffers?: ArrayBuffer[]): void;
  on(event: "msg:custom", listener: MessageListener): void;
  on(events: string, listener: () => void): void;
  off(event: "msg:custom", listener: MessageListener): void;
  off(events: string, listener: () => void): void;
  /** Where the host shows the kernel: the manager of widgets of JupyterLab and of Voila does. */
  widget_manager?: { kernel?: KernelConnection | null };
}

/** What is used of `IKernelConnection` of JupyterLab's services, which Voila has too. */
export interface KernelConnection {
  id: string;
  status: string;
  connectionStatus: string;
  statusChanged?: {
    connect(slot: (sender: unknown, status: string) => void): void;
    disconnect(slot: (sender: unknown, status: string) => void): void;
  };
  serverSettings?: { baseUrl: string };
}

/** What is known of a kernel: ms since it answered and since it was busy; undefined is unknown. */
export interface KernelReading {
  sinceAnswer: number;
  sinceBusy: number;
  status?: string;
  connection?: string;
  isReplaced: boolean;
}

/** "silent" is busy or lost, "closed" a living kernel that does not know the page. */
export type KernelState = "answers" | "busy" | "silent" | "closed" | "lost";

/** The arguments of a widget's `render`. */
export interface View<Traits> {
  model: Model<Traits>;
  el: HTMLElement;
}

/** Called with each message of the kernel, whose fields depend on the request. */
export type MessageListener = (message: Message, buffers: Bytes[]) => void;
// biome-ignore lint/suspicious/noExplicitAny: the one place where what comes over the wire gets its type
export type Message = Record<string, any>;

/** The part of a model that requests need. */
export interface Channel {
  on(event: "msg:custom", listener: MessageListener): void;
  send(content: object): void;
}

/** A request to the kernel by name; `Answers` has the type of each name's answer. */
export type Request<Answers> = <Name extends keyof Answers & string>(
  name: Name,
  about?: unknown,
  onProgress?: (progress: Message) => void,
) => Promise<Answers[Name] & { buffers: Bytes[] }>;

/** A table that stands in for a drawing: caption, header, rows. */
export type Table = [caption: string, header: unknown[], rows: unknown[][]];

// -- planes --------------------------------------------------------------------------------------

/** A visible head: its number in the model, its name, its colour. */
export interface Head {
  index: number;
  label: string;
  color: string;
}

/** A cell [head, n, m]: of the model's heads where it is pinned, of the squares where it is pointed at. */
export type Cell = [head: number, n: number, m: number];

/** A tick of a legend: its position along it, and the value there. */
export type Tick = [position: number, text: string];

/** The first line of a plane's panel; "computed" is all, none or blocks. */
export interface PanelTitle {
  title?: string;
  origin?: string;
  computed?: string;
}

export interface HeatmapMeta extends PanelTitle {
  length: number;
  heads: Head[];
  block: number;
  diagonal: boolean;
  signed: boolean;
  ticks: Tick[];
  summary: string;
  sentence: string;
}

export interface HeatmapTraits {
  cells: Bytes;
  colors: Bytes;
  meta: Partial<HeatmapMeta>;
  selected: number;
  cell: number[];
  readout: string;
  tabular: boolean;
}

export interface HeatmapAnswers {
  cell: { text: string };
  tables: { tables: Table[] };
}

/** A point of a canvas, in pixels. */
export interface Point {
  x: number;
  y: number;
}

/** The colours of the page's theme that a canvas is drawn with. */
export interface ThemeColors {
  paper: string;
  ink: string;
  muted: string;
  line: string;
  accent: string;
}

// -- planes of long texts ------------------------------------------------------------------------

/** The visible window of a plane: `span` rows from n on, and as many columns from m on. */
export interface Window {
  n: number;
  m: number;
  span: number;
}

export interface TiledMeta extends HeatmapMeta {
  version: number;
  noun: string;
}

export interface TiledTraits {
  colors: Bytes;
  meta: TiledMeta;
  ready: number[];
  status: { state: string; text?: string; done?: number };
  selected: number;
  cell: number[];
  readout: string;
}

/** A picture of a window as the kernel sends it; its colour indices come as a buffer of bytes. */
export interface PictureMessage {
  rows: [first: number, stop: number];
  cols: [first: number, stop: number];
  pixel: number; // tokens along a pixel
  height: number;
  width: number;
  heads: number[];
  bounds: number[]; // the heads that are drawn as upper bounds
  note: string;
  names: [rows: string[], cols: string[]];
}

/** A picture that can be drawn: one bitmap for each head. */
export interface Picture extends PictureMessage {
  bitmaps: Map<number, HTMLCanvasElement>;
  version: number;
}

export interface TiledAnswers extends HeatmapAnswers {
  pictures: { version: number; pictures: PictureMessage[] };
}

// -- the mode at work ----------------------------------------------------------------------------

export interface StepMeta {
  length: number;
  mode: string;
  layer: number;
  scale: string;
  stride: number; // tokens in a step
  whyNot: string;
}

export interface StepTraits {
  version: number;
  meta: Partial<StepMeta>;
  token: number;
  told: number | null;
  head: number;
  playing: boolean;
  colors: Bytes;
  heads: string[];
}

/** A picture on the stage; its colour indices begin at byte `at` of the scene's buffer. */
export interface StagePicture {
  term: string;
  label: string;
  rows: string;
  cols: string;
  height: number;
  width: number;
  rowStart: number;
  colStart: number;
  norm: string;
  computed: boolean;
  scale: string;
  signed: boolean;
  at: number;
}

/** Rows n0 to before n1, columns m0 to before m1. */
export type Block = [n0: number, n1: number, m0: number, m1: number];

/** The part of the plane of cells beside the stage: tokens first to before last. */
export interface Plane {
  first: number;
  last: number;
  row: number;
  lit: Block | null;
  done: Block[];
  built: boolean;
  cells: [height: number, width: number] | null;
  at: number;
}

export interface Bars {
  title: string;
  term: string;
  values: number[];
  first: number;
  slots: number;
  limit: number;
  unit: string;
  labels: string[];
}

export interface Scene {
  step: number;
  steps: number;
  sentence: string;
  formula: string;
  lines: (string | StagePicture)[][];
  plane: Plane;
  bars: Bars | null;
  limits: Record<string, string>;
  cost: string;
}

export interface SceneData {
  token: number;
  scene: Scene;
  bytes: Uint8Array;
}

/** An entry of a picture, or a cell (n, m) of the plane, whose numbers are requested. */
export type StagePlace = [term: string, row: number, column: number];

export interface StepAnswers {
  scene: { scene: Scene };
  probe: { text: string };
  tables: { tables: Table[] };
}

// -- modes side by side --------------------------------------------------------------------------

/** The steps of one mode as the kernel sends them: each list has one entry a step. */
export interface RunMessage {
  mode: string;
  color: string;
  first_token: number[];
  stop_token: number[];
  first_cell: number[];
  stop_cell: number[];
  flops: number[];
  held_bytes: number[];
  carried_bytes: number[];
  milliseconds: number[] | null;
}

/** A run with running totals after each of its steps. */
export interface Run extends RunMessage {
  steps: number;
  flopsAfter: number[];
  timeAfter: number[] | null;
  peakAfter: number[];
}

/** The state of a run at a moment. */
export interface Moment {
  done: number; // steps
  current: number; // the step at work, -1 for none
  finished: boolean;
  tokens: number; // with an output
  flops: number;
  heldBytes: number;
  peak: number;
  time: number | null; // null where it is not measured
}

/** A quantity that all modes have, in one unit. */
export interface Quantity {
  name: string;
  unit: string;
  phrase: string; // follows its number in a sentence; "" for none
  top: number; // the largest of any run
  now(moment: Moment): number | null;
  peak?(moment: Moment): number;
  total(run: Run): number | null;
  format(value: number): string;
  unitOf?(value: number): string;
}

export interface TimelineTraits {
  race: { length?: number; note?: string; sentence?: string; runs?: RunMessage[] };
  clock: string;
  position: number;
  elapsed: number;
}

// -- a page without a kernel ---------------------------------------------------------------------

/** Templates of the sentences on a cell, with names in braces. */
export interface CellSentences {
  weight: string;
  decay: string;
  later: string;
}

/** The numbers of a cell (n, m) of a head. */
export interface CellNumbers {
  score(head: number, n: number, m: number): number;
  decay(head: number, n: number, m: number): number;
  weight(head: number, n: number, m: number): number;
}

/** The numbers that a page has of a layer: cells up to the diagonal by head, decay by distance. */
export interface LayerNumbers {
  scores: ArrayLike<number>;
  weights: ArrayLike<number> | null; // null: scores times decay
  decay: ArrayLike<number>;
}

type RecordedPlane = { cells: Bytes; meta: HeatmapMeta };

/** The content of the panels for a layer and some heads. */
export interface RecordedView {
  planes: { decay: RecordedPlane; retention: RecordedPlane };
  decaySentence: string;
  note: string;
  norms: Figure;
  selections: { shades: Bytes; weights: Bytes; sentence: string }[];
}

/** The steps of a mode: a scene for each token, with its bytes in parts. */
export interface RecordedStage {
  mode: string;
  head: number;
  meta: StepMeta;
  scenes: { scene: Scene; parts: Uint8Array[]; tables: Table[] }[];
}

/** A recorded exploration. */
export interface RecordedPage {
  about: string;
  text: string;
  said: string;
  tokens: string[];
  colors: { signed: Uint8Array<ArrayBuffer>; magnitude: Uint8Array<ArrayBuffer> };
  headColors: string[];
  choices: number[][];
  choiceNames: string[];
  selection: { layer: number; token: number; cell: number[] };
  views: RecordedView[][];
  numbers: {
    scores: Uint8Array<ArrayBuffer>;
    weights: Uint8Array<ArrayBuffer> | null;
    decay: Uint8Array<ArrayBuffer>;
  }[];
  sentences: CellSentences & { stripTitles: string[] };
  next: Figure[];
  stages: RecordedStage[];
  stageMode: number;
  cost: Figure;
  agreement: string;
  gammas: string[];
}

/** The module of a widget. */
export interface WidgetModule<Traits> {
  render(view: View<Traits>): unknown;
}

// -- all heads -----------------------------------------------------------------------------------

export interface HeadsMeta extends PanelTitle {
  layers: number;
  heads: number;
  side: number; // pixels of a thumbnail
  headColors: string[];
  halfLives?: string[][]; // these by layer and head
  gammas?: string[][];
  largest?: string[][];
}

/** What each head brings to a logit, by layer and head, once it is known. */
export interface HeadShares {
  state: string;
  values?: number[][];
  texts?: string[][];
  token?: string;
  sentence?: string;
}

/** The place of a head. */
export type HeadPlace = [layer: number, head: number];

export interface HeadsTraits {
  pictures: Bytes;
  colors: Bytes;
  meta: HeadsMeta;
  stale: boolean;
  shares: HeadShares;
  selected: number[];
  silent: number[][];
  clicked: number[];
  toggled: number[];
}

/** How the cells of a row stand: their width in pixels, and what stands beside what. */
export interface HeadsLayout {
  cell: number;
  isBeside: boolean; // the numbers stand beside the thumbnail, not below it
  isNamedAbove: boolean; // the layer's name stands above its row, not before it
}

// -- the other widgets ---------------------------------------------------------------------------

export interface TokenStripTraits {
  tokens: string[];
  first: number;
  length: number;
  shades: Bytes;
  colors: Bytes;
  weights: Bytes;
  selected: number;
  title: string;
  note: string;
  empty: string;
  written?: [start: number, stop: number][]; // numbers of tokens; none in a page without a kernel
}

/** What stands in the controls, as text. */
export interface GoOnSettings {
  temperature?: string;
  top_k?: string;
  top_p?: string;
  seed?: string;
}

export interface GoOnTraits {
  ready: boolean;
  running: boolean;
  number: number;
  settings: GoOnSettings;
  problems: GoOnSettings;
  status: string;
}

export interface FilePickerTraits {
  label: string;
  max_bytes: number;
  read_bytes: number;
}

export interface QuizTraits {
  question: string;
  labels: string[];
  limits: number[];
  chosen: number | null;
  result: { right?: boolean | null; text?: string; answer?: number | null };
}

export interface HostBridgeTraits {
  theme: string;
  shown: string;
  query: string;
  look: string;
  panels: Record<string, string>;
}

export interface HostBridgeAnswers {
  link: { link: string; whyNot: string }; // whyNot where link is ""
  save: { file: string }; // the name; its content is the buffer
}

/** A file in the buffer; or figures as JSON, which the page draws into a picture. */
export interface ExportMenuAnswers {
  file: { file?: string; draw?: string[] };
  cancel: object;
}

export interface ExportMenuTraits {
  things: [name: string, label: string, kinds: string[]][];
  ready: boolean;
}

export interface PlotAnswers {
  "plotly.js": object; // the script is its buffer
}

export interface PlotTraits {
  library?: string; // none in a page without a kernel
  figure: Partial<Figure>;
  clicked: number;
  cursor: number;
  stale: boolean;
  offers?: boolean; // none in a page without a kernel
  chosen?: number;
}

/** A row of a figure that can be chosen: what is reported, what is appended, how likely it is. */
export type Choice = [id: number, text: string, share: string];

// -- plotly, as far as the panels read it --------------------------------------------------------

export interface Figure {
  data: Trace[];
  layout: Layout;
}

export type AxisValue = string | number;

export interface Axis {
  domain?: number[];
  title?: string | { text?: string };
  tickvals?: AxisValue[];
  ticktext?: string[];
}

export interface Trace {
  type?: string;
  name?: string;
  x?: AxisValue[];
  y?: AxisValue[];
  z?: unknown[][];
  x0?: number;
  y0?: number;
  dx?: number;
  dy?: number;
  xaxis?: string;
  yaxis?: string;
  orientation?: string;
  visible?: boolean;
  hoverinfo?: string;
  showlegend?: boolean;
  legendgroup?: string;
  mode?: string;
  fill?: string;
  fillcolor?: string;
  line?: { color?: string; dash?: string };
  marker?: { color?: string; symbol?: string };
}

export interface Title {
  font?: object;
  text?: string;
}

export interface Layout {
  title?: Title;
  height?: number;
  margin?: object;
  showlegend?: boolean;
  legend?: { orientation?: string; yref?: string };
  meta?: { sentence?: string; choices?: Choice[]; narrow?: { below: number; layout: Layout } }; // narrow: of a panel below a width, in pixels
  [axis: `xaxis${string}` | `yaxis${string}`]: Axis | undefined;
}

/** An element that plotly draws in, with the properties that plotly sets on it. */
export interface PlotlyBox extends HTMLDivElement {
  _fullLayout?: {
    showlegend: boolean;
    _size: { t: number; h: number };
    yaxis?: { _offset: number; d2p?(place: number): number };
    xaxis?: {
      visible: boolean;
      _length: number;
      _offset: number;
      d2p?(place: number): number;
    };
  };
  on(event: string, listener: (event: { points: { x: unknown }[] }) => void): void;
}

export interface Plotly {
  react(box: HTMLElement, data: Trace[], layout: object, config: object): Promise<void>;
  purge(box: HTMLElement): void;
  toImage(figure: Figure, options: object): Promise<string>;
}

declare global {
  /** plotly.js, once per page. */
  var retnetVizPlotly: Promise<Plotly> | undefined;
  /** In a page without a kernel only: the modules of the widgets, and plotly.js. */
  const Heatmap: WidgetModule<HeatmapTraits>;
  const Plot: WidgetModule<PlotTraits>;
  const StepPlayer: WidgetModule<StepTraits>;
  const TokenStrip: WidgetModule<TokenStripTraits>;
  var Plotly: Plotly | undefined;
}
